"""Layers of a transformer's encoder in evaluation, which PyTorch runs as one operator.

Put together from the same parts as `aten/src/ATen/native/transformers/transformer.cpp` and `cuda/attention.cu` do, in
their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _layer(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(src, embed_dim, heads, attention's 4, use_gelu, norm_first, eps, 4 of norms, 4 of feed-forward, mask)`."""
    source, heads, (use_gelu, norm_first, eps) = args[0], args[2], args[7:10]
    first_norm, second_norm, (up, up_bias, down, down_bias) = args[10:12], args[12:14], args[14:18]
    mask = args[18] if len(args) > 18 else None
    with recorder:
        x = _normed(source, first_norm, eps) if norm_first else source
        x = _attended(x, heads, args[3:7], mask).add_(source)
        x = x if norm_first else _normed(x, first_norm, eps)
        before = x
        x = _normed(x, second_norm, eps) if norm_first else x
        wide = aten._addmm_activation(up_bias, x.flatten(0, -2), up.t(), use_gelu=use_gelu)
        x = functional.linear(wide, down, down_bias).view_as(source)
        del wide
        x.add_(before)
        return x if norm_first else _normed(x, second_norm, eps)


def _attention(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(query, key, value, embed_dim, heads, qkv and proj with a bias each, mask, need_weights, ...)`."""
    query, heads, weights = args[0], args[4], args[5:9]
    mask = args[9] if len(args) > 9 else kwargs.get("mask")
    if args[10] if len(args) > 10 else kwargs.get("need_weights", True):
        return recorder.run(func, args, kwargs)
    with recorder:
        return _attended(query, heads, weights, mask), None


def _attended(
    x: torch.Tensor, heads: int, weights: Sequence[torch.Tensor], mask: torch.Tensor | None
) -> torch.Tensor:
    inner, inner_bias, outer, outer_bias = weights
    if mask is not None:
        return _masked(x, heads, inner, outer, outer_bias, mask)
    joined = functional.linear(x, inner, inner_bias)
    batch, length, width = x.shape
    query, key, value = (
        part.view(batch, length, heads, width // heads).transpose(1, 2) for part in joined.chunk(3, -1))
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return functional.linear(mixed.transpose(1, 2).flatten(2), outer, outer_bias)


def _masked(
    x: torch.Tensor, heads: int, inner: torch.Tensor, outer: torch.Tensor, outer_bias: torch.Tensor, mask: torch.Tensor,
) -> torch.Tensor:
    """With a mask no fused attention is taken; the result takes the place of the queries, then is put in order."""
    batch, length, width = x.shape
    joined = functional.linear(x, inner)
    query, key, value = torch.empty(3, batch * heads, length, width // heads, dtype=x.dtype, device=x.device)
    del joined
    scores = torch.bmm(query, key.transpose(1, 2))
    as_bool = torch.empty(mask.shape, dtype=torch.bool, device=x.device)
    scores = torch.empty_like(scores)
    del as_bool
    torch.bmm(scores, value, out=query)
    del scores
    merged = query.view(batch, heads, length, width // heads).transpose(1, 2).flatten(2)
    return functional.linear(merged, outer, outer_bias)


def _normed(x: torch.Tensor, parameters: tuple[torch.Tensor, torch.Tensor], eps: float) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:], *parameters, eps)


RULES: dict[Any, Rule] = {
    aten._native_multi_head_attention.default: _attention,
    aten._transformer_encoder_layer_fwd.default: _layer,
}
