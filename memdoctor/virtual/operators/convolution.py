"""Convolution by cuDNN: operands in one memory format, and the output.

cuDNN chooses its workspace at run time: `RULES` leave it out, `WITH_WORKSPACE` take the model in `kernels/`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from memdoctor.virtual.kernels.convolution import backward_workspace_bytes, depthwise_is_cudnns
from memdoctor.virtual.kernels.memory_formats import is_like_channels_last
from memdoctor.virtual.operators import native_convolution
from memdoctor.virtual.operators.native_convolution import Call, bias_gradient
from memdoctor.virtual.precision import CONVOLUTIONS
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _convolution(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)`."""
    tensor, weight, bias = args[:3]
    call = Call(*args[3:9])
    recorder.ledger.kinds.add(CONVOLUTIONS)
    shape = recorder.run_unrecorded(func, args, kwargs).shape
    if tensor.dim() == 3:
        tensor = recorder.contiguous(tensor).unsqueeze(2)
        weight, call = weight.unsqueeze(2), call.in_two_dimensions()
        shape = torch.Size((*shape[:2], 1, shape[2]))
    out = (
        native_convolution.forward(recorder, tensor, weight, bias is not None, call, shape[2:])
        if _is_native(tensor, weight, call) else _cudnn_forward(recorder, tensor, weight, shape))
    return out.squeeze(2) if args[0].dim() == 3 else out


def _cudnn_forward(
    recorder: Recorder, tensor: torch.Tensor, weight: torch.Tensor, shape: Sequence[int]
) -> torch.Tensor:
    layout = _memory_format(tensor, weight)
    operands = [_in_format(recorder, operand, layout) for operand in (tensor, weight)]
    out = _new(recorder, shape, tensor.dtype, layout)
    del operands
    return out


def _is_native(tensor: torch.Tensor, weight: torch.Tensor, call: Call) -> bool:
    """Whether PyTorch's own kernels do it: without cuDNN, and most of those with one channel a group."""
    if not torch.backends.cudnn.enabled:
        return True
    if not call.is_depthwise(tensor, weight) or _memory_format(tensor, weight) is not torch.contiguous_format:
        return False
    return tensor.dim() == 5 or not depthwise_is_cudnns(
        tensor.shape, weight.shape[2:], call.stride, is_dilated=call.is_dilated, is_half=tensor.dtype is torch.float16)


Workspace = Callable[[Recorder, torch.Tensor, torch.Tensor, torch.Tensor], int]
"""Bytes by gradient, input and weight."""


def _backward(
    workspace: Workspace, recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`(grad_output, input, weight, bias_sizes, stride, ..., groups, output_mask)`."""
    grad, tensor, weight = args[:3]
    call, mask = Call(*args[4:10]), args[10]
    if tensor.dim() == 3:
        tensor = recorder.contiguous(tensor)
        grad, tensor, weight = (part.unsqueeze(2) for part in (grad, tensor, weight))
        call = call.in_two_dimensions()
    of_input, of_weight, of_bias = (
        native_convolution.backward(recorder, grad, tensor, weight, call, mask)
        if _is_native(tensor, weight, call) else _cudnn_backward(workspace, recorder, grad, tensor, weight, mask))
    if args[1].dim() == 3:
        of_input, of_weight = (part if part is None else part.squeeze(2) for part in (of_input, of_weight))
    return of_input, of_weight, of_bias


def _cudnn_backward(
    workspace: Workspace, recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor,
    mask: Sequence[bool],
) -> native_convolution.Gradients:
    """Input, weight and gradient are brought into one format for both; the input only where it is needed."""
    nbytes = workspace(recorder, grad, tensor, weight)
    layout = _memory_format(tensor, weight)
    tensor = _in_format(recorder, tensor, layout) if mask[1] else tensor
    weight = _in_format(recorder, weight, layout)
    same = grad if _suggested(grad) is _suggested(tensor) else _in_format(recorder, grad, _suggested(tensor))
    of_input = _input_gradient(recorder, same, tensor, weight, nbytes) if mask[0] else None
    of_weight = _weight_gradient(recorder, same, tensor, weight, nbytes) if mask[1] else None
    del tensor, weight, same
    return of_input, of_weight, bias_gradient(recorder, grad) if mask[2] else None


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


def _memory_format(tensor: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    """Channels last if input or weight is (`cudnn_conv_suggest_memory_format`, aten/src/ATen/native/ConvUtils.h)."""
    either = (_suggested(operand) for operand in (tensor, weight))
    return next((layout for layout in either if layout is not torch.contiguous_format), torch.contiguous_format)


def _suggested(tensor: torch.Tensor) -> torch.memory_format:
    """As `Tensor::suggest_memory_format`."""
    return _FORMATS[tensor.dim()] if is_like_channels_last(tensor.shape, tensor.stride()) else torch.contiguous_format


def _in_format(recorder: Recorder, tensor: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    if tensor.is_contiguous(memory_format=layout):
        return tensor
    return _new(recorder, tensor.shape, tensor.dtype, layout)


def _new(
    recorder: Recorder, shape: Sequence[int], dtype: torch.dtype, layout: torch.memory_format
) -> torch.Tensor:
    out = torch.empty(shape, dtype=dtype, device="meta", memory_format=layout)
    recorder.admit(out)
    return out


RULES: dict[Any, Rule] = {
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: functools.partial(_backward, _no_workspace),
}
WITH_WORKSPACE: dict[Any, Rule] = {
    aten.convolution_backward.default: functools.partial(_backward, _modelled_workspace),
}
