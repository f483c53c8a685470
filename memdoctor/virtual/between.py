"""Copies from one card to another, and what PyTorch sorts by device.

Autograd remembers the device of a copied tensor, which is meta for all cards: it would leave the gradient where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from memdoctor.virtual.device import CardDevice, Function, Handler
from memdoctor.virtual.patches import Patches


class _Copy(torch.autograd.Function):
    """A copy whose gradient goes back to the card it came from."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, source: torch.device, to: Callable[..., Any]) -> Any:
        ctx.source, ctx.dtype = source, tensor.dtype
        return to(tensor)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        return grad.to(ctx.source, ctx.dtype), None, None


def copied(tensor: torch.Tensor, source: torch.device, to: Callable[..., Any]) -> Any:
    """`to` makes the copy."""
    apply: Any = _Copy.apply
    return apply(tensor, source, to) if tensor.requires_grad and torch.is_grad_enabled() else to(tensor)


def _copy_(mode: CardDevice, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target, source, *rest = args
    if mode.on_card(target) and isinstance(source, torch.Tensor) and source.requires_grad and mode.on_card(source):
        device = mode.device_of(target)
        if device != mode.device_of(source):
            source = copied(source, mode.device_of(source), lambda tensor: tensor.to(mode.meta(device)))
    return func(target, source, *rest, **kwargs)


BETWEEN: dict[Any, Handler] = {torch.Tensor.copy_: _copy_}


def patch_grouping(patches: Patches) -> None:
    """Optimizers and clipping of gradients take the tensors of each card together."""
    original = torch._C._group_tensors_by_device_and_dtype

    def grouped(tensorlistlist: Any, with_indices: bool = False) -> dict[Any, Any]:
        by_device: dict[Any, list[int]] = {}
        for position, tensor in enumerate(tensorlistlist[0]):
            by_device.setdefault(tensor.device if tensor is not None else None, []).append(position)
        groups: dict[Any, Any] = {}
        for device, positions in by_device.items():
            some = [[each[at] for at in positions] if each else [] for each in tensorlistlist]
            for (_, dtype), (lists, indices) in original(some, True).items():
                groups[device, dtype] = lists, [positions[at] for at in indices] if with_indices else []
        return groups

    patches.set(torch._C, "_group_tensors_by_device_and_dtype", grouped)
