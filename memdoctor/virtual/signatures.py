"""Results of meta kernels, remembered by operator and argument shapes.

PyTorch's meta kernels are Python for most operators and take most of the time of a virtual step; what they return
follows from shapes, strides, types and scalars alone.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any

import torch

from memdoctor.virtual.device import META

_PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.layout, torch.device, torch.memory_format, complex)
_PLAIN_WITHOUT_FLOATS = tuple(kind for kind in _PLAIN if kind is not float)


class Uncachable(Exception):
    """An argument cannot be part of a signature."""


def signature(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, floats_matter: bool = True
) -> tuple[Hashable, ...]:
    """Everything that a meta kernel looks at; raises `Uncachable` where that is not plain data.

    Scalars come with their type: 1, 1.0 and True are equal but promote differently. Without `floats_matter` floats are
    all alike: those of an optimizer are others at each step.
    """
    parts: list[Hashable] = [func, torch.get_default_dtype()]
    plain = _PLAIN if floats_matter else _PLAIN_WITHOUT_FLOATS
    _describe_all(args, parts, plain)
    for name, value in kwargs.items():
        parts.append(name)
        _describe(value, parts, plain)
    return tuple(parts)


def _describe_all(values: Any, parts: list[Hashable], plain: tuple[type, ...]) -> None:
    for value in values:
        _describe(value, parts, plain)
    parts.append(len(values))


def _describe(value: Any, parts: list[Hashable], plain: tuple[type, ...]) -> None:
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided:
            raise Uncachable
        parts += (value.shape, value.stride(), value.dtype, value.is_meta)
    elif isinstance(value, (list, tuple)):
        _describe_all(value, parts, plain)
    elif isinstance(value, plain):
        parts.append((type(value), value))
    elif isinstance(value, float):
        parts.append(float)
    else:
        raise Uncachable


class Memory(dict[tuple[Hashable, ...], Any]):
    """What is known of signatures; begun anew when there are too many, as with sequences of every length."""

    def keep(self, key: tuple[Hashable, ...], value: Any) -> None:
        if len(self) >= _MOST_SIGNATURES:
            self.clear()
        self[key] = value


_MOST_SIGNATURES = 100_000
"""About 100 MB of keys; a program of fixed shapes has a few thousand."""


class Layout:
    """Shape, strides and type of one fresh result."""

    __slots__ = ("shape", "stride", "dtype")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.shape = tensor.shape
        self.stride = tensor.stride()
        self.dtype = tensor.dtype

    def make(self) -> torch.Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=META)


def is_fresh(tensor: Any) -> bool:
    """Whether a result is a plain tensor that owns the whole of its storage, so that its layout says all about it."""
    return (
        type(tensor) is torch.Tensor
        and tensor.is_meta
        and tensor.layout is torch.strided
        and tensor.storage_offset() == 0
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


@functools.lru_cache(maxsize=10_000)
def dense_strides(shape: torch.Size, stride: tuple[int, ...]) -> tuple[int, ...]:
    """Those of `torch.empty_like` for a tensor with this layout; PyTorch's own answer takes longer than an operator."""
    return torch.empty_like(torch.empty_strided(shape, stride, device=META)).stride()
