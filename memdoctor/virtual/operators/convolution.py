"""Convolution: output, operands in one memory format, and without cuDNN a buffer of columns.

cuDNN chooses its workspace at run time: `RULES` leave it out, `WITH_WORKSPACE` take the model in `kernels/`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from memdoctor.virtual.kernels.convolution import backward_workspace_bytes, unfolded_columns_bytes
from memdoctor.virtual.operators.matmul import hold_workspace
from memdoctor.virtual.operators.reductions import play_scratch
from memdoctor.virtual.precision import CONVOLUTIONS
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _convolution(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)`."""
    tensor, weight = args[:2]
    recorder.ledger.kinds.add(CONVOLUTIONS)
    layout = _memory_format(tensor, weight)
    shape = recorder.run_unrecorded(func, args, kwargs).shape
    out = _new(recorder, shape, tensor.dtype, layout)
    operands = [_in_format(recorder, operand, layout) for operand in (tensor, weight)]
    with recorder.ledger.scratch(_columns(tensor, weight, out.shape[2:], args)):
        _hold_workspace(recorder)
        del operands
        return out


Workspace = Callable[[Recorder, torch.Tensor, torch.Tensor, torch.Tensor], int]
"""Bytes by gradient, input and weight."""


def _backward(
    workspace: Workspace, recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`(grad_output, input, weight, bias_sizes, stride, ..., groups, output_mask)`."""
    grad, tensor, weight, bias_sizes = args[:4]
    mask = args[-1]
    workspace_bytes = workspace(recorder, grad, tensor, weight)
    columns = _columns(tensor, weight, grad.shape[2:], (None, None, None, *args[4:]))
    grad_input = _input_gradient(recorder, grad, tensor, weight, workspace_bytes) if mask[0] else None
    with recorder.ledger.scratch(columns if mask[0] else []):
        _hold_workspace(recorder)
        grad_weight = _weight_gradient(recorder, grad, tensor, weight, workspace_bytes) if mask[1] else None
        with recorder.ledger.scratch([] if mask[0] else columns):
            pass
    grad_bias = recorder.new(bias_sizes, grad.dtype) if mask[2] else None
    if grad_bias is not None:
        play_scratch(recorder, grad, [dim for dim in range(grad.dim()) if dim != 1], grad_bias)
    return grad_input, grad_weight, grad_bias


def _input_gradient(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, workspace_bytes: int
) -> torch.Tensor:
    """The result comes before the copies (`cudnn_convolution_backward_input`, native/cudnn/ConvShared.cpp)."""
    layout = _memory_format(grad, weight)
    out = _new(recorder, tensor.shape, tensor.dtype, layout)
    copies = [_in_format(recorder, operand, layout) for operand in (weight, grad)]
    recorder.ledger.borrow(workspace_bytes)
    del copies
    return out


def _weight_gradient(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, workspace_bytes: int
) -> torch.Tensor:
    """The copies come before the result (`cudnn_convolution_backward_weight`)."""
    layout = _memory_format(tensor, grad)
    copies = [_in_format(recorder, operand, layout) for operand in (grad, tensor)]
    out = _new(recorder, weight.shape, weight.dtype, layout)
    recorder.ledger.borrow(workspace_bytes)
    del copies
    return out


def _no_workspace(recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor) -> int:
    return 0


def _modelled_workspace(recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor) -> int:
    """None for channels-last tensors, and without tensor cores."""
    if not _on_tensor_cores(recorder, tensor) or _memory_format(tensor, weight) is not torch.contiguous_format:
        return 0
    return backward_workspace_bytes(
        tensor.numel(), weight.shape, grad.numel(), groups_are_channels=weight.shape[1] == 1 < tensor.shape[1],
        element_bytes=tensor.element_size())


def _on_tensor_cores(recorder: Recorder, tensor: torch.Tensor) -> bool:
    """float32 goes there as TF32, since Ampere and unless it is switched off."""
    if not torch.backends.cudnn.enabled:
        return False
    if tensor.dtype is torch.float32:
        return recorder.card.compute_capability >= (8, 0) and _allows_tf32()
    return tensor.element_size() == 2 and recorder.card.compute_capability >= (7, 0)


def _allows_tf32() -> bool:
    """The switch of convolutions alone, where PyTorch has one; the older one complains where the two differ."""
    switches: Any = torch.backends.cudnn
    return switches.conv.fp32_precision == "tf32" if hasattr(switches, "conv") else bool(switches.allow_tf32)


def _hold_workspace(recorder: Recorder) -> None:
    """Without cuDNN, convolutions are matrix products."""
    if not torch.backends.cudnn.enabled:
        hold_workspace(recorder)


def _memory_format(tensor: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    """Channels last if input or weight is (`cudnn_conv_suggest_memory_format`, aten/src/ATen/native/ConvUtils.h)."""
    last = _FORMATS.get(tensor.dim())
    if last is not None and any(_is_channels_last(operand, last) for operand in (tensor, weight)):
        return last
    return torch.contiguous_format


def _is_channels_last(tensor: torch.Tensor, last: torch.memory_format) -> bool:
    """As `suggest_memory_format`: what is contiguous in both ways counts by its strides."""
    return tensor.is_contiguous(memory_format=last) and not tensor.is_contiguous()


def _in_format(recorder: Recorder, tensor: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    if tensor.is_contiguous(memory_format=layout):
        return tensor
    return _new(recorder, tensor.shape, tensor.dtype, layout)


def _new(
    recorder: Recorder, shape: torch.Size, dtype: torch.dtype, layout: torch.memory_format
) -> torch.Tensor:
    out = torch.empty(shape, dtype=dtype, device="meta", memory_format=layout)
    recorder.admit(out)
    return out


def _columns(
    tensor: torch.Tensor, weight: torch.Tensor, output: torch.Size, args: tuple[Any, ...]
) -> list[int]:
    """Scratch of the path without cuDNN: two dimensions, one group, no dilation."""
    stride, padding, dilation, transposed, _, groups = args[3:9]
    is_plain = tensor.dim() == 4 and groups == 1 and not transposed and all(step == 1 for step in dilation)
    if torch.backends.cudnn.enabled or not is_plain:
        return []
    nbytes = unfolded_columns_bytes(
        tensor.shape[1], weight.shape[2:], stride, padding, output, tensor.element_size())
    return [nbytes] if nbytes else []


def _columns_of(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`im2col` copies its input first, also a contiguous one."""
    with recorder.ledger.scratch([args[0].nbytes]):
        return recorder.run(func, args, kwargs)


RULES: dict[Any, Rule] = {
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: functools.partial(_backward, _no_workspace),
    aten.im2col.default: _columns_of,
}
WITH_WORKSPACE: dict[Any, Rule] = {
    aten.convolution_backward.default: functools.partial(_backward, _modelled_workspace),
}
