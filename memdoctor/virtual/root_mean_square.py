"""Norm by the root of the mean square: one kernel on CUDA, which saves the reciprocal root of each row.

Elsewhere PyTorch puts it together from its parts and saves them all; so the step above autograd is our own.
"""

from __future__ import annotations

import math
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
        ctx.set_materialize_grads(False)
        return out, root

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor | None, of_root: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        """By the kernel, or, where the slopes get a graph of their own, by what has derivatives."""
        tensor, weight, root = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[2]]
        if torch.is_grad_enabled() or of_root is not None:
            of_input, of_weight = _slopes(grad, of_root, tensor, weight, root, len(ctx.shape))
        elif grad is None:
            return None, None, None, None
        else:
            with torch._C._AutoDispatchBelowAutograd():
                of_input, of_weight = aten._fused_rms_norm_backward.default(
                    grad, tensor, ctx.shape, root, weight, wanted)
        return of_input if wanted[0] else None, None, of_weight if wanted[1] else None, None


def _slopes(
    grad: torch.Tensor | None, of_root: torch.Tensor | None, tensor: torch.Tensor, weight: torch.Tensor | None,
    root: torch.Tensor, count: int,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Of the input and the weight; the last `count` dimensions are normalised."""
    dims, elements = list(range(-count, 0)), math.prod(tensor.shape[tensor.dim() - count:])
    of_input = of_weight = None
    if grad is not None:
        cube, scaled = root.pow(3), grad if weight is None else grad * weight
        along = (scaled * tensor).sum(dims, True)
        of_input = root * scaled - tensor * cube * along / elements
        of_weight = (grad * tensor * root).sum(list(range(grad.dim() - count)))
    if of_root is not None:
        own = of_root * root.pow(3) * tensor / -elements
        of_input = own if of_input is None else of_input + own
    return of_input, of_weight
