"""The recorder of `values="real"`: every operator of the card also runs on the host, on twins of its operands.

Shapes, blocks and the order of allocations come from the same rules as without values, so the bytes are the same. What
has no kernel on the host (`host_kernels.py` has some) leaves its results unknown, and reads are answered by policy.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from memdoctor.virtual import placing
from memdoctor.virtual.device import META
from memdoctor.virtual.host_kernels import HOST_KERNELS
from memdoctor.virtual.randomness import drawn_from_card
from memdoctor.virtual.recorder import Operator, Recorder, written_targets
from memdoctor.virtual.traits import Traits, is_composite, traits_of

_UNKNOWN = object()


def _is_random(func: Operator) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized


WITHOUT_VALUES = frozenset({"cumprod_backward", "mish_backward", "prod", "prod.dim_int"})
"""Kernels above autograd that do not compute their result, or only where no value is zero; PyTorch's own are used."""


class ComputingRecorder(Recorder):  # type: ignore[no-untyped-call]  # untyped in torch
    """Computes first, because the operands of an operator in place are gone afterwards; records as its base does."""

    def dispatch(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        traits = traits_of(func)
        comes_in_parts = is_composite(func) and func not in HOST_KERNELS
        if comes_in_parts or not (traits.written or traits.makes_new) or traits.reshapes:
            return super().dispatch(func, args, kwargs)
        contents = self._computed(func, args, kwargs)
        try:
            out = super().dispatch(func, args, kwargs)
        except NotImplementedError:
            if contents is _UNKNOWN or isinstance(contents, torch.Tensor) and not _is_plain(contents):
                raise
            out = args[0] if traits.written else self._as_computed(contents)
        self._write_all(out, contents)
        return out

    def _computed(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The results on the host; operands that are written to have been written there."""
        if not placing.concerns_card(self.ledger, func, args, kwargs):
            return _UNKNOWN
        twin = self.known.twins
        try:
            if func in HOST_KERNELS:
                return HOST_KERNELS[func](twin, *args, **kwargs)
            operands, options = twin(args), {name: twin(value) for name, value in kwargs.items()}
            with drawn_from_card(self.ledger.device) if _is_random(func) else contextlib.nullcontext():
                return func(*operands, **options)
        except (LookupError, NotImplementedError, RuntimeError) as error:
            if isinstance(error, IndexError):
                raise
            self._forget_written(func, args, kwargs)
            return _UNKNOWN

    def _forget_written(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for target in written_targets(traits_of(func), args, kwargs):
            self.known.forget(target)

    def _as_computed(self, contents: Any) -> Any:
        """For an operator that nothing else is known of: its results have the shapes that the host's have."""
        if isinstance(contents, (list, tuple)):
            return type(contents)([self._as_computed(item) for item in contents])
        if not isinstance(contents, torch.Tensor):
            return contents
        out = torch.empty_strided(contents.size(), contents.stride(), dtype=contents.dtype, device=META)
        self.admit(out)
        return out

    def _write_all(self, out: Any, contents: Any) -> None:
        if isinstance(out, torch.Tensor):
            if isinstance(contents, torch.Tensor) and out.is_meta and _is_plain(out) and _is_plain(contents):
                self.known.write(out, contents)
        elif isinstance(out, (list, tuple)) and isinstance(contents, (list, tuple)):
            for item, content in zip(out, contents):
                self._write_all(item, content)

    def _follow_contents(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Nothing is left to follow."""

    def _follow_writes(
        self, func: Operator, traits: Traits, args: tuple[Any, ...], kwargs: dict[str, Any], targets: Any
    ) -> None:
        """Nothing is left to follow."""
