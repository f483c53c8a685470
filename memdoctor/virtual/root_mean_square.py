"""Norm by the root of the mean square: one kernel on CUDA, which saves the reciprocal root of each row.

Elsewhere PyTorch puts it together from its parts and saves them all; so the step above autograd is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

aten = torch.ops.aten


def root_mean_square_norm(
    tensor: torch.Tensor, shape: Sequence[int], weight: torch.Tensor | None, eps: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernel of `aten::_fused_rms_norm` at `AutogradMeta`."""
    with torch._C.DisableTorchFunction():
        apply: Any = _Norm.apply
        found: tuple[torch.Tensor, torch.Tensor] = apply(tensor, list(shape), weight, eps)
        return found


class _Norm(torch.autograd.Function):
    """Both operators reach the recorder below autograd (`operators/normalization.py`)."""

    @staticmethod
    def forward(
        ctx: Any, tensor: torch.Tensor, shape: list[int], weight: torch.Tensor | None, eps: float | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            out, root = aten._fused_rms_norm.default(tensor, shape, weight, eps)
        ctx.save_for_backward(tensor, weight, root)
        ctx.shape = shape
        ctx.mark_non_differentiable(root)
        return out, root

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        tensor, weight, root = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[2]]
        with torch._C._AutoDispatchBelowAutograd():
            of_input, of_weight = aten._fused_rms_norm_backward.default(grad, tensor, ctx.shape, root, weight, wanted)
        return of_input, None, of_weight, None
