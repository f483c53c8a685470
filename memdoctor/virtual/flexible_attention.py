"""`flex_attention` as PyTorch runs it without a compiler: all scores at full size, computed again in backward.

PyTorch would trace the score function into graphs first, with tensors of its own that no card can take. Here the
program's functions are called as they are. Gradients of tensors that a score function has captured come by keeping
every step of the forward pass, which takes more than on a card.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from memdoctor.virtual.patches import Patches
from memdoctor.virtual.values import ReadLog


def patch_flexible_attention(patches: Patches, reads: ReadLog) -> None:
    """A compiled kernel would keep no scores; that it does not run, `reads` says."""
    module: Any = sys.modules.get("torch._higher_order_ops.flex_attention")
    if "mask_mod_other_buffers" not in _parameters(getattr(module, "sdpa_dense_backward", None)):
        return
    original = module.FlexAttentionHOP.__call__

    def __call__(self: Any, query: torch.Tensor, *rest: Any, **options: Any) -> Any:
        with torch._C.DisableTorchFunction():
            is_of_card = query.is_meta
        if not is_of_card:
            with _disable_current_modes():  # the host needs none of ours, and PyTorch lets no mode but its own see this
                return original(self, query, *rest, **options)
        reads.note("flex_attention, run without a compiler")
        arguments = inspect.signature(original).bind(self, query, *rest, **options)
        arguments.apply_defaults()
        return _attended(module, *arguments.args[1:])

    patches.set(module.FlexAttentionHOP, "__call__", __call__)


def _parameters(function: Callable[..., Any] | None) -> Collection[str]:
    return inspect.signature(function).parameters if function is not None else ()


def _attended(module: Any, *args: Any) -> Any:
    """`(query, key, value, score_mod, block_mask, scale, kernel_options, score_mod_other_buffers, ...)`."""
    operands, rest = args[:3], args[3:]
    if torch.is_autocast_enabled("cuda"):
        operands = tuple(one.to(torch.get_autocast_dtype("cuda")) for one in operands)
    with torch.autocast("cuda", enabled=False):
        if _has_captured(operands[0], rest[0], rest[4]):
            return module.sdpa_dense(*operands, *rest)
        apply: Any = _Attention.apply
        return apply(module, *operands, *rest)


def _has_captured(query: torch.Tensor, score_mod: Callable[..., Any], buffers: tuple[Any, ...]) -> bool:
    """Whether a gradient is wanted of a tensor that the function has from anywhere, which a single score tells.

    It is called as for all scores, within `vmap`: outside, an index that is a tensor would be read from the card.
    """
    called = torch.func.vmap(score_mod, in_dims=(*(0 for _ in range(5)), *(None for _ in buffers)))
    place = query.new_zeros((1,), dtype=torch.int32)
    score = called(query.new_zeros((1,), dtype=torch.float32), place, place, place, place, *buffers)
    return bool(score.requires_grad)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: Any, *args: Any) -> Any:
        out, logsumexp, *maxima = module.sdpa_dense(*args)
        ctx.save_for_backward(*args[:3], out, logsumexp)
        ctx.module, ctx.rest = module, args[3:]
        ctx.mark_non_differentiable(*maxima)
        ctx.set_materialize_grads(False)
        return out, logsumexp, *maxima

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor | None, of_logsumexp: torch.Tensor | None, *_: Any) -> Any:
        *operands, out, logsumexp = ctx.saved_tensors
        score_mod, *rest = ctx.rest
        grad = torch.zeros_like(out) if grad is None else grad
        of_logsumexp = torch.zeros_like(logsumexp) if of_logsumexp is None else of_logsumexp
        gradients = ctx.module.sdpa_dense_backward(
            *operands, out, logsumexp, grad, of_logsumexp, score_mod, _slope_of(score_mod), *rest)
        return None, *gradients[:3], *(None for _ in ctx.rest)


def _slope_of(score_mod: Callable[..., Any]) -> Callable[..., Any]:
    """Of one score: gradients of the score and, none of them, of the four places and what else is handed in."""
    def slope(score: torch.Tensor, *others: Any) -> Any:
        places, grad, buffers = others[:4], others[4], others[5:]
        back = torch.func.vjp(lambda own: score_mod(own, *places, *buffers), score)[1]
        return [back(grad)[0], *(None for _ in (*places, *buffers))]
    return slope
