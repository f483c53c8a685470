"""Layer norm and group norm; statistics are float32 whatever the input is."""

from __future__ import annotations

import math
from typing import Any

import torch

from memdoctor.virtual.kernels.normalization import layer_norm_backward_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_FLOAT_BYTES = 4


def _layer_norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, normalized_shape, ...)`: copy of a non-contiguous input, output, mean, reciprocal deviation."""
    tensor, normalized = args[:2]
    recorder.check(func, args, kwargs)
    source = recorder.contiguous(tensor)
    statistics = (*tensor.shape[: tensor.dim() - len(normalized)], *[1] * len(normalized))
    dtype = torch.float64 if tensor.dtype is torch.float64 else torch.float32
    out = recorder.new(source.shape, tensor.dtype)
    return out, recorder.new(statistics, dtype), recorder.new(statistics, dtype)


def _layer_norm_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_out, input, normalized_shape, mean, rstd, weight, bias, output_mask)`."""
    grad, tensor, normalized, _, _, weight, bias, mask = args
    source = recorder.contiguous(tensor)
    out = recorder.new(tensor.shape, tensor.dtype) if mask[0] else None
    wanted = [like for like, is_wanted in zip((weight, bias), mask[1:]) if is_wanted and like is not None]
    gradients = [recorder.new(like.shape, like.dtype) for like in wanted]
    grad = recorder.contiguous(grad)
    width = math.prod(normalized)
    gradients = _summed(recorder, gradients, tensor.numel() // max(1, width), width)
    del source, grad
    present = iter(gradients)
    return out, *(
        next(present) if is_wanted and like is not None else None
        for like, is_wanted in zip((weight, bias), mask[1:])
    )


def _summed(
    recorder: Recorder, gradients: list[torch.Tensor], rows: int, width: int
) -> list[torch.Tensor]:
    """Many rows: the sum over partial gradients is a new tensor, and takes the place of the one made before."""
    partial_rows, scratch = layer_norm_backward_scratch(
        rows, width, sm_count=recorder.card.sm_count, threads_per_sm=recorder.card.max_threads_per_sm)
    if not partial_rows:
        return gradients
    with recorder.ledger.scratch([partial_rows * width * gradient.element_size() for gradient in gradients]):
        for index, gradient in enumerate(gradients):
            gradients[index] = recorder.new(gradient.shape, gradient.dtype)
            with recorder.ledger.scratch(scratch):
                pass
    return gradients


def _group_norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Beside the outputs a factor and a term per sample and channel, with parameters (cuda/group_norm_kernel.cu)."""
    tensor, weight, bias = args[:3]
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([] if weight is None and bias is None else [_per_channel(tensor)] * 2):
        return out


def _group_norm_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_out, input, mean, rstd, weight, ...)`: two sums and a factor per sample and channel, two per group."""
    tensor, mean, weight = args[1], args[2], args[4]
    out = recorder.run(func, args, kwargs)
    channel, group = _per_channel(tensor), mean.numel() * _FLOAT_BYTES
    with recorder.ledger.scratch([channel, channel]):
        groups = [recorder.ledger.malloc(group) for _ in range(2)]
        factors = [recorder.ledger.malloc(channel)] if weight is not None else []
        for block in (*reversed(groups), *factors):
            recorder.ledger.free(block)
    return out


def _root_mean_square(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, normalized_shape, weight, eps)`: output, reciprocal root (`_fused_rms_norm_cuda`)."""
    tensor, normalized = args[:2]
    source = recorder.contiguous(tensor)
    statistics = (*tensor.shape[: tensor.dim() - len(normalized)], *[1] * len(normalized))
    return recorder.new(source.shape, tensor.dtype), recorder.new(statistics, torch.float32)


def _root_mean_square_backward(
    recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`(grad_out, input, normalized_shape, rstd, weight, output_mask)`."""
    grad, tensor, normalized, root, weight, (wants_input, wants_weight) = args
    out, of_weight, _ = _layer_norm_backward(
        recorder, func, (grad, tensor, normalized, None, root, weight, None, [wants_input, wants_weight, False]), {})
    return out, of_weight


def _per_channel(tensor: torch.Tensor) -> int:
    return int(tensor.shape[0] * tensor.shape[1] * _FLOAT_BYTES)


RULES: dict[Any, Rule] = {
    aten.native_group_norm.default: _group_norm,
    aten.native_group_norm_backward.default: _group_norm_backward,
    aten.native_layer_norm.default: _layer_norm,
    aten.native_layer_norm_backward.default: _layer_norm_backward,
}
if hasattr(aten, "_fused_rms_norm"):
    RULES[aten._fused_rms_norm.default] = _root_mean_square
    RULES[aten._fused_rms_norm_backward.default] = _root_mean_square_backward
