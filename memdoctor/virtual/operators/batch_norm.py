"""Batch norm: cuDNN's order of buffers, and PyTorch's own kernels for what cuDNN does not take."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.kernels.normalization import channels_last_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _batch_norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, weight, bias, running_mean, running_var, training, ...)`; statistics are float32."""
    tensor, training = args[0], args[5]
    recorder.check(func, args, kwargs)
    out = recorder.new_like(tensor)
    length = tensor.shape[1] if training else 0
    mean, deviation = (recorder.new((length,), torch.float32) for _ in range(2))
    with recorder.ledger.scratch(_scratch(tensor, values_per_channel=4) if training else []):
        return out, mean, deviation


def _backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_out, input, weight, running_mean, running_var, save_mean, save_invstd, train, eps, output_mask)`."""
    grad, tensor, weight, mask = *args[:3], args[9]
    if is_native(tensor) and _is_channels_last(tensor):
        return _channels_last_backward(recorder, tensor, weight, mask)
    is_cudnns = args[7] and weight is not None and not is_native(tensor)
    same_format = recorder.new_like(tensor, grad.dtype) if is_cudnns and grad.stride() != tensor.stride() else grad
    grad_input = recorder.new_like(tensor) if mask[0] else None
    parameters = _parameter_gradients(recorder, weight, mask)
    del same_format
    return grad_input, *parameters


def _channels_last_backward(
    recorder: Recorder, tensor: torch.Tensor, weight: torch.Tensor | None, mask: list[bool]
) -> tuple[torch.Tensor | None, ...]:
    """Two sums per channel, the parameters' gradients, then the input's."""
    channels = tensor.shape[1]
    sums = [recorder.new((channels,), torch.float32) for _ in range(2)]
    parameters = _parameter_gradients(recorder, weight, mask)
    with recorder.ledger.scratch(_scratch(tensor, values_per_channel=2)):
        pass
    grad_input = recorder.new_like(tensor) if mask[0] else None
    del sums
    return grad_input, *parameters


def _parameter_gradients(
    recorder: Recorder, weight: torch.Tensor | None, mask: list[bool]
) -> list[torch.Tensor | None]:
    return [recorder.new_like(weight) if wanted and weight is not None else None for wanted in mask[1:3]]


def _scratch(tensor: torch.Tensor, values_per_channel: int) -> list[int]:
    if not (is_native(tensor) and _is_channels_last(tensor)):
        return []
    channels = tensor.shape[1]
    return channels_last_scratch(channels, tensor.numel() // max(1, channels), values_per_channel)


def is_native(tensor: torch.Tensor) -> bool:
    """cuDNN takes images, not bfloat16 (`_select_batch_norm_backend`, aten/src/ATen/native/Normalization.cpp)."""
    return tensor.dim() == 2 or tensor.dtype is torch.bfloat16 or not torch.backends.cudnn.enabled


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """As `batch_norm_choose_impl` (aten/src/ATen/native/cuda/Normalization.cu): a table of features counts too."""
    if tensor.is_contiguous():
        return tensor.stride(1) == 1
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    return last is not None and tensor.is_contiguous(memory_format=last)


RULES: dict[Any, Rule] = {
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _backward,
}
