"""Layer norm; statistics are float32 whatever the input is."""

from __future__ import annotations

import math
from typing import Any

import torch

from memdoctor.virtual.kernels.normalization import layer_norm_backward_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _layer_norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, normalized_shape, ...)`: copy of a non-contiguous input, output, mean, reciprocal deviation."""
    tensor, normalized = args[:2]
    if not tensor.is_meta:
        return recorder.run(func, args, kwargs)
    source = recorder.contiguous(tensor)
    statistics = (*tensor.shape[: tensor.dim() - len(normalized)], *[1] * len(normalized))
    dtype = torch.float64 if tensor.dtype is torch.float64 else torch.float32
    out = recorder.new(source.shape, tensor.dtype)
    return out, recorder.new(statistics, dtype), recorder.new(statistics, dtype)


def _layer_norm_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_out, input, normalized_shape, mean, rstd, weight, bias, output_mask)`."""
    grad, tensor, normalized, _, _, weight, bias, mask = args
    if not grad.is_meta:
        return recorder.run(func, args, kwargs)
    copies = [recorder.contiguous(operand) for operand in (grad, tensor)]
    width = math.prod(normalized)
    out = recorder.new(tensor.shape, tensor.dtype) if mask[0] else None
    grad_weight = recorder.new(weight.shape, weight.dtype) if mask[1] and weight is not None else None
    grad_bias = recorder.new(bias.shape, bias.dtype) if mask[2] and bias is not None else None
    _play_partials(recorder, tensor.numel() // max(1, width), width, grad_weight, grad_bias)
    del copies
    return out, grad_weight, grad_bias


def _play_partials(
    recorder: Recorder, rows: int, width: int, grad_weight: torch.Tensor | None, grad_bias: torch.Tensor | None
) -> None:
    gradients = [gradient for gradient in (grad_weight, grad_bias) if gradient is not None]
    if not gradients:
        return
    element_bytes = gradients[0].element_size()
    partial_rows, scratch = layer_norm_backward_scratch(
        rows, width, element_bytes, sm_count=recorder.card.sm_count, threads_per_sm=recorder.card.max_threads_per_sm)
    if not partial_rows:
        return
    with recorder.ledger.scratch([partial_rows * width * element_bytes] * len(gradients)):
        for _ in gradients:
            with recorder.ledger.scratch([width * element_bytes, *scratch]):
                pass


RULES: dict[Any, Rule] = {
    aten.native_layer_norm.default: _layer_norm,
    aten.native_layer_norm_backward.default: _layer_norm_backward,
}
