"""Which attention kernel a card takes, and how its operands are prepared above autograd."""

from __future__ import annotations

import math
from typing import Any

import torch

from memdoctor.virtual.cards import Card

aten = torch.ops.aten
_MASK_ALIGNMENT = 8


def attention_backend(
    card: Card, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    dropout_p: float,
) -> str:
    """The first backend of CUDA's priority list that is switched on and takes these operands.

    Source: `_fused_sdp_choice_cuda` (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp) of torch 2.12.1.
    """
    switches: Any = torch.backends.cuda
    size, is_half = query.shape[-1], query.dtype in (torch.float16, torch.bfloat16)
    is_ampere = card.compute_capability >= (8, 0)
    if query.dim() != 4 or query.dtype is torch.float64 or (query.dtype is torch.bfloat16 and not is_ampere):
        return "math"
    if any(operand.stride(-1) != 1 for operand in (query, key, value)):
        return "math"
    is_grouped = key.shape[1] != query.shape[1]
    cudnn_size = 256 if card.compute_capability < (10, 0) else 128
    prefers_cudnn = (9, 0) <= card.compute_capability < (12, 0)
    if prefers_cudnn and is_half and not dropout_p and size % 8 == 0 and size <= cudnn_size and _cudnn_is_on():
        return "cudnn"
    sizes = (size, value.shape[-1])
    if is_half and is_ampere and mask is None and max(sizes) == min(sizes) <= 256 and switches.flash_sdp_enabled():
        return "flash"
    aligned = all(each % (8 if is_half else 4) == 0 for each in sizes)
    if (aligned or is_ampere and not is_half) and not is_grouped and switches.mem_efficient_sdp_enabled():
        return "efficient"
    return "math"


def operands_fit(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether fused kernels take these shapes; where not, plain attention broadcasts them, or complains."""
    return (
        query.dim() == key.dim() == value.dim() == 4
        and query.dtype == key.dtype == value.dtype
        and query.shape[0] == key.shape[0] == value.shape[0]
        and query.shape[3] == key.shape[3]
        and key.shape[1:3] == value.shape[1:3]
    )


def _cudnn_is_on() -> bool:
    switches: Any = torch.backends.cuda
    return hasattr(switches, "cudnn_sdp_enabled") and bool(switches.cudnn_sdp_enabled())


def _plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    dropout_p: float, is_causal: bool, scale: float | None,
) -> torch.Tensor:
    """The steps of `_scaled_dot_product_attention_math`; there the mask is added in place only outside of modes."""
    dtype = query.dtype
    if dtype in (torch.float16, torch.bfloat16) and not _half_products_allowed():
        query, key, value = held = [tensor.to(torch.float32) for tensor in (query, key, value)]  # noqa: F841  # alive
    root = math.sqrt(1 / math.sqrt(query.shape[-1]) if scale is None else abs(scale))
    query = query * (root if scale is None or scale >= 0 else -root)
    if is_causal:
        mask = torch.ones((query.shape[-2], key.shape[-2]), dtype=torch.bool, device="meta").tril()
        mask = added_mask(mask, query.dtype)
    if key.shape[-3] != query.shape[-3]:
        key, value = (tensor.repeat_interleave(query.shape[-3] // key.shape[-3], -3) for tensor in (key, value))
    scores = torch.matmul(query, key.transpose(-2, -1) * root)
    if mask is not None:
        scores.add_(mask)
    scores = torch._safe_softmax(scores, -1) if hasattr(torch, "_safe_softmax") else scores.softmax(-1)
    if dropout_p > 0:
        scores = torch.dropout(scores, dropout_p, True)
    weights = scores.to(dtype)  # noqa: F841  # the second result, which is made first
    return torch.matmul(scores, value).to(dtype)


def _half_products_allowed() -> bool:
    switches: Any = torch.backends.cuda
    known = hasattr(switches, "fp16_bf16_reduction_math_sdp_allowed")
    return known and bool(switches.fp16_bf16_reduction_math_sdp_allowed())


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    dropout_p: float, is_causal: bool, scale: float | None,
) -> torch.Tensor:
    """Head sizes are padded to a multiple of eight."""
    size = query.shape[-1]
    scale = 1 / math.sqrt(size) if scale is None else scale
    if size % 8:
        query, key, value = (torch.nn.functional.pad(tensor, (0, 8 - size % 8)) for tensor in (query, key, value))
    out, logsumexp, _, _, _, _, seed, unused, _ = aten._scaled_dot_product_flash_attention(
        query, key, value, dropout_p, is_causal, False, scale=scale)
    del logsumexp, seed, unused  # in this order, where no graph keeps them
    whole: torch.Tensor = out
    return whole[..., :size] if size % 8 else whole


def _cudnn(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    dropout_p: float, is_causal: bool, scale: float | None,
) -> torch.Tensor:
    out: torch.Tensor = aten._scaled_dot_product_cudnn_attention(
        query, key, value, mask, _needs_logsumexp(query, key, value), dropout_p, is_causal, False, scale=scale)[0]
    return out


def _efficient(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    dropout_p: float, is_causal: bool, scale: float | None,
) -> torch.Tensor:
    mask = _aligned_mask(mask, query, key)
    out: torch.Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, _needs_logsumexp(query, key, value), dropout_p, is_causal, scale=scale)[0]
    return out


def _needs_logsumexp(*operands: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and any(operand.requires_grad for operand in operands)


def added_mask(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """A boolean mask becomes zeros and minus infinity in the type of the query (`convert_boolean_attn_mask`)."""
    if mask is None or mask.dtype is not torch.bool:
        return mask
    zero, infinity = (torch.scalar_tensor(value, dtype=dtype, device="meta") for value in (0.0, -math.inf))
    return torch.where(mask, zero, infinity)


def _aligned_mask(mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
    """Rows that do not begin at a multiple of eight elements are padded, then the mask is expanded.

    Source: `preprocess_mask` and `pad_bias` of aten/src/ATen/native/transformers/attention.cpp.
    """
    if mask is None:
        return None
    if mask.stride(-1) != 1 or any(stride % _MASK_ALIGNMENT for stride in mask.stride()[:-1]):
        length = mask.shape[-1]
        mask = torch.nn.functional.pad(mask, (0, _MASK_ALIGNMENT - length % _MASK_ALIGNMENT))[..., :length]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


ATTENTION = {"cudnn": _cudnn, "flash": _flash, "efficient": _efficient, "math": _plain_attention}
