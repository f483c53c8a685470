"""Scaled dot product attention below autograd: FlashAttention, memory-efficient and cuDNN kernels, both ways."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.kernels import attention
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_BYTES_OF_FLOAT = 4
_PHILOX_BYTES = 16


def _flash(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Works on [batch, sequence, heads, size]: the output is a transposed view of its own layout."""
    query, key, value, *rest = args
    recorder.check(func, args, kwargs)
    batch, heads, queries, size = query.shape
    keys = key.shape[2]
    dropout = rest[0] if rest else kwargs.get("dropout_p", 0.0)
    out = recorder.new_like(query.transpose(1, 2)).transpose(1, 2)
    logsumexp = recorder.new((batch, heads, queries), torch.float32)
    scratch = attention.flash_forward_scratch(
        batch, heads, queries, keys, size, sm_count=recorder.card.sm_count, has_dropout=dropout > 0)
    with recorder.ledger.scratch(scratch):
        seed = recorder.new((2,), torch.uint64)
        unused = recorder.new((), torch.uint64)
    with recorder.ledger.scratch([_PHILOX_BYTES] if dropout > 0 else []):
        debug_mask = recorder.new((0,), query.dtype)
    return out, logsumexp, None, None, queries, keys, seed, unused, debug_mask


def _flash_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    grad, query, key, value, out = args[:5]
    batch, heads, queries, size = query.shape
    copies = [recorder.contiguous(tensor.transpose(1, 2)) for tensor in (grad, out)]
    gradients = [recorder.new_like(tensor.transpose(1, 2)).transpose(1, 2) for tensor in (query, key, value)]
    expanded = []
    if key.shape[1] != heads:
        expanded = [heads * tensor.shape[0] * tensor.shape[2] * size * tensor.element_size() for tensor in (key, value)]
    with recorder.ledger.scratch([*attention.flash_backward_scratch(batch, heads, queries, size), *expanded]):
        del copies
        return tuple(gradients)


def _cudnn(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(query, key, value, bias, compute_log_sumexp, ...)`: seeds first, the output in the query's layout."""
    query, key, value = args[:3]
    recorder.check(func, args, kwargs)
    batch, heads, queries, _ = query.shape
    seed, offset = recorder.new((), torch.int64), recorder.new((), torch.int64)
    out = recorder.new_like(query) if value.shape[-1] == query.shape[-1] else recorder.new(
        (batch, heads, queries, value.shape[-1]), query.dtype)
    length = queries if args[4] else 0
    logsumexp = recorder.new((batch, heads, length, 1), torch.float32)
    return out, logsumexp, None, None, queries, key.shape[2], seed, offset, None


def _cudnn_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    grad, query, key, value, out = args[:5]
    batch, heads, queries, size = query.shape
    gradients = tuple(recorder.new_like(tensor) for tensor in (query, key, value))
    grad = grad if grad.stride() == out.stride() else recorder.new_like(out)
    with recorder.ledger.scratch(attention.cudnn_backward_scratch(batch, heads, queries, size)):
        return gradients


def _efficient(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(query, key, value, bias, compute_log_sumexp, ...)`; the seeds live on the host."""
    query, _, value = args[:3]
    recorder.check(func, args, kwargs)
    batch, heads, queries, _ = query.shape
    out = recorder.new((batch, queries, heads, value.shape[-1]), query.dtype).transpose(1, 2)
    length = attention.efficient_logsumexp_length(queries) if args[4] else 0
    logsumexp = recorder.new((batch, heads, length), torch.float32)
    seed, offset = (torch.zeros((), dtype=torch.int64, device="cpu") for _ in range(2))
    return out, logsumexp, seed, offset


def _efficient_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """float32: product of gradient and output, delta, its copy; the first two are gone before the workspace comes.

    The copy goes before the workspace does.
    """
    grad, query, key, value, bias = args[:5]
    batch, heads, queries, size = query.shape
    sequence_first = recorder.contiguous(grad.transpose(1, 2))
    gradients = [_in_sequence_layout(recorder, tensor) for tensor in (query, key, value)]
    bias_gradient = recorder.new_like(bias) if bias is not None and args[-3 if len(args) > 11 else -1][3] else None
    is_half = query.element_size() == 2
    rows = batch * heads * queries
    workspace = attention.efficient_backward_workspace(batch, heads, queries, size, is_half=is_half)
    delta = rows * _BYTES_OF_FLOAT
    if is_half:
        with recorder.ledger.scratch([delta, workspace]):
            return (*gradients, bias_gradient)
    with recorder.ledger.scratch([]):
        product = recorder.ledger.malloc(rows * size * _BYTES_OF_FLOAT)
        first = recorder.ledger.malloc(delta)
        copy = recorder.ledger.malloc(delta)
        recorder.ledger.free(first)
        recorder.ledger.free(product)
        with recorder.ledger.scratch([workspace]):
            recorder.ledger.free(copy)
    del sequence_first
    return (*gradients, bias_gradient)


def _in_sequence_layout(recorder: Recorder, tensor: torch.Tensor) -> torch.Tensor:
    batch, heads, length, size = tensor.shape
    return recorder.new((batch, length, heads, size), tensor.dtype).transpose(1, 2)


RULES: dict[Any, Rule] = {
    aten._scaled_dot_product_flash_attention.default: _flash,
    aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    aten._scaled_dot_product_efficient_attention.default: _efficient,
    aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
}
if hasattr(aten, "_scaled_dot_product_cudnn_attention"):
    RULES[aten._scaled_dot_product_cudnn_attention.default] = _cudnn
    RULES[aten._scaled_dot_product_cudnn_attention_backward.default] = _cudnn_backward
