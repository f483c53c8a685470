"""Rows scaled down to a largest norm: on the way back a card works with floats, where PyTorch takes doubles elsewhere.

Which type sums are kept in is asked of the device (`renorm_backward`, torch/csrc/autograd/FunctionsManual.cpp).
"""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.products import AUTOGRAD, is_followed

aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)


def renormalized(tensor: torch.Tensor, p: float, dim: int, maxnorm: float) -> torch.Tensor:
    """Kernel of `aten::renorm` at `AutogradMeta`."""
    with torch._C.DisableTorchFunction():
        apply: Any = _Renormalized.apply
        out: torch.Tensor = (
            apply(tensor, p, dim, maxnorm) if is_followed(tensor)
            else aten.renorm.default._op_dk(AUTOGRAD, tensor, p, dim, maxnorm))
        return out


class _Renormalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, p: float, dim: int, maxnorm: float) -> torch.Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            out: torch.Tensor = aten.renorm.default(tensor, p, dim, maxnorm)
        ctx.save_for_backward(tensor)
        ctx.options = p, dim, maxnorm
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (tensor,), (p, dim, maxnorm) = ctx.saved_tensors, ctx.options
        dims = [each for each in range(tensor.dim()) if each != dim % tensor.dim()]
        wide = torch.float32 if tensor.dtype in _HALVES else None
        norm = torch.linalg.vector_norm(tensor, p, dims, True, dtype=wide)
        along = (tensor.conj() * grad).real.sum(dims, True, dtype=wide)
        of_norm = _slope_of_norm(tensor, p, dims, norm, along, wide)
        del along
        inverse = (norm + 1e-7).reciprocal()
        way = inverse * of_norm
        rest = grad - way
        factor = maxnorm * inverse
        scaled = factor * rest
        del factor, rest, way
        return torch.where(norm > maxnorm, scaled.to(grad.dtype), grad), None, None, None


def _slope_of_norm(
    tensor: torch.Tensor, p: float, dims: list[int], norm: torch.Tensor, grad: torch.Tensor, wide: torch.dtype | None
) -> torch.Tensor:
    """`norm_backward`; that of other norms than Euclid's by PyTorch itself."""
    if p == 2:
        way = tensor / norm
        return grad * way.masked_fill_(norm == 0, 0)
    with torch.enable_grad():
        own = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        found = torch.linalg.vector_norm(own, p, dims, True, dtype=wide)
    return torch.autograd.grad(found, own, grad, create_graph=torch.is_grad_enabled())[0]
