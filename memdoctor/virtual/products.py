"""Derivatives of products, whose way on a card depends on whether a factor is zero.

While a mode is in place, and for meta tensors anyway, PyTorch takes the way that is right with zeros and needs several
times the memory. The card's answer to the question is that of `values.py`: no factor is zero.
"""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten
AUTOGRAD: Any = torch._C.DispatchKey.AutogradCPU
"""The kernel of autograd is the same at the keys of all devices."""


def product(tensor: torch.Tensor, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Kernel of `aten::prod` at `AutogradMeta`."""
    return _product(aten.prod.default, (tensor,), dtype)


def product_along(
    tensor: torch.Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Kernel of `aten::prod.dim_int` at `AutogradMeta`."""
    return _product(aten.prod.dim_int, (tensor, dim, keepdim), dtype)


def _product(operator: Any, args: tuple[Any, ...], dtype: torch.dtype | None) -> torch.Tensor:
    with torch._C.DisableTorchFunction():
        apply: Any = _Product.apply
        out: torch.Tensor = (
            apply(operator, dtype, *args) if is_followed(args[0])
            else operator._op_dk(AUTOGRAD, *args, dtype=dtype))
        return out


def cumulative_product_backward(
    grad: torch.Tensor, tensor: torch.Tensor, dim: int, out: torch.Tensor
) -> torch.Tensor:
    """Kernel of `aten::cumprod_backward` at `AutogradMeta`."""
    with torch._C.DisableTorchFunction():
        if tensor.numel() <= 1 or tensor.shape[dim] == 1:
            return grad
        weighted = out.conj() * grad
        is_zero = tensor == 0
        is_zero.any()
        turned = weighted.flip(dim)
        sums = turned.cumsum(dim)
        back = sums.flip(dim)
        del sums, turned
        return back.div(tensor.conj())


def is_followed(tensor: torch.Tensor) -> bool:
    """Whether a function of our own is to stand in the graph; per-sample gradients go by PyTorch's."""
    return (
        tensor.requires_grad and torch.is_grad_enabled() and tensor.dim() > 0
        and torch._C._functorch.peek_interpreter_stack() is None)


class _Product(torch.autograd.Function):
    """`prod_backward` of torch/csrc/autograd/FunctionsManual.cpp, where nothing is zero."""

    @staticmethod
    def forward(
        ctx: Any, operator: Any, dtype: torch.dtype | None, tensor: torch.Tensor, *along: Any
    ) -> torch.Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            out: torch.Tensor = operator(tensor, *along, dtype=dtype)
        ctx.save_for_backward(tensor, out)
        ctx.along = along
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tensor, out = ctx.saved_tensors
        own = tensor.to(grad.dtype)
        is_zero = own == 0
        if ctx.along:
            dim, keepdim = ctx.along
            count = is_zero.sum(dim, True)
            count.sum()
            grad, out = (grad, out) if keepdim else (grad.unsqueeze(dim), out.unsqueeze(dim))
            slope = grad * (out / own).conj()
            del count
        else:
            del is_zero
            slope = grad * (out / own).conj()
        del own
        return None, None, slope.to(tensor.dtype), *(None for _ in ctx.along)
