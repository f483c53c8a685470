"""Convolutions that PyTorch does itself, without cuDNN: by columns and matrix products, or channel by channel.

One sample at a time, so the columns are those of one; groups one after another on contiguous copies of their channels,
joined at the end. Which kernel: `select_conv_backend` of aten/src/ATen/native/Convolution.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from memdoctor.virtual.kernels.convolution import columns_bytes, reads_input_as_it_is
from memdoctor.virtual.operators.matmul import hold_workspace
from memdoctor.virtual.operators.reductions import play_scratch
from memdoctor.virtual.recorder import Recorder

Gradients = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]


class Call(NamedTuple):
    """How a convolution moves over its input; the arguments that `aten::convolution` has behind the bias."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int

    @property
    def is_dilated(self) -> bool:
        return any(step != 1 for step in self.dilation)

    def is_depthwise(self, tensor: torch.Tensor, weight: torch.Tensor) -> bool:
        """One channel a group; of images and volumes only."""
        return (
            not self.transposed and tensor.dim() in (4, 5) and 1 < self.groups == tensor.shape[1]
            and weight.shape[0] % tensor.shape[1] == 0)

    def in_two_dimensions(self) -> Call:
        """Of a one-dimensional convolution, which is done as one of images of height 1 (`view1d_as_2d`)."""
        return self._replace(
            stride=[1, *self.stride], padding=[0, *self.padding], dilation=[1, *self.dilation],
            output_padding=[0, *self.output_padding])


def forward(
    recorder: Recorder, tensor: torch.Tensor, weight: torch.Tensor, has_bias: bool, call: Call,
    positions: Sequence[int],
) -> torch.Tensor:
    """`positions` is the output's size without batch and channels."""
    if call.is_depthwise(tensor, weight):
        with recorder.ledger.scratch(_copy(tensor)):
            return recorder.new((tensor.shape[0], weight.shape[0], *positions), tensor.dtype)
    tensor, weight = recorder.contiguous(tensor), recorder.contiguous(weight)
    if call.groups == 1:
        return _forward(recorder, tensor, weight, has_bias, call, positions)
    outputs = [
        _forward(recorder, _part(recorder, tensor, 1, call, number), _part(recorder, weight, 0, call, number), has_bias,
                 call, positions)
        for number in range(call.groups)]
    return _joined(recorder, outputs, 1)


def backward(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, call: Call, mask: Sequence[bool]
) -> Gradients:
    """Gradients of input, weight and bias."""
    if call.is_depthwise(tensor, weight):
        return _depthwise_backward(recorder, grad, tensor, weight, mask)
    tensor, weight = recorder.contiguous(tensor), recorder.contiguous(weight)
    if call.groups == 1:
        return _backward(recorder, grad, tensor, weight, call, mask)
    parts = [
        _backward(
            recorder, _part(recorder, grad, 1, call, number), _part(recorder, tensor, 1, call, number),
            _part(recorder, weight, 0, call, number), call, mask)
        for number in range(call.groups)]
    joined = [
        _joined(recorder, [part[place] for part in parts], dim) if mask[place] else None
        for place, dim in enumerate((1, 0, 0))]
    while parts:
        parts.pop()
    return joined[0], joined[1], joined[2]


def _copy(tensor: torch.Tensor) -> list[int]:
    """Bytes of a contiguous copy, where one is needed."""
    return [] if tensor.is_contiguous() else [tensor.nbytes]


def _part(recorder: Recorder, tensor: torch.Tensor, dim: int, call: Call, number: int) -> torch.Tensor:
    size = tensor.shape[dim] // call.groups
    return recorder.contiguous(tensor.narrow(dim, number * size, size))


def _joined(recorder: Recorder, parts: Sequence[torch.Tensor | None], dim: int) -> torch.Tensor:
    first = parts[0]
    assert first is not None
    shape = list(first.shape)
    shape[dim] *= len(parts)
    return recorder.new(shape, first.dtype)


def _depthwise_backward(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, mask: Sequence[bool]
) -> Gradients:
    """Images: the weight's gradient first (`conv_depthwise2d_backward_cuda`); volumes: the input's."""
    of_input, of_weight = None, None
    same = recorder.contiguous(grad)
    if tensor.dim() == 5 and mask[0]:
        of_input = recorder.new(tensor.shape, tensor.dtype)
    if mask[1]:
        with recorder.ledger.scratch(_copy(tensor)):
            of_weight = recorder.new(weight.shape, weight.dtype)
    if tensor.dim() == 4 and mask[0]:
        of_input = recorder.new(tensor.shape, tensor.dtype)
    del same
    return of_input, of_weight, bias_gradient(recorder, grad) if mask[2] else None


def bias_gradient(recorder: Recorder, grad: torch.Tensor) -> torch.Tensor:
    """The sum of everything but the channels."""
    out = recorder.new((grad.shape[1],), grad.dtype)
    play_scratch(recorder, grad, [dim for dim in range(grad.dim()) if dim != 1], out)
    return out


def _forward(
    recorder: Recorder, tensor: torch.Tensor, weight: torch.Tensor, has_bias: bool, call: Call,
    positions: Sequence[int],
) -> torch.Tensor:
    channels = weight.shape[1] if call.transposed else weight.shape[0]
    shape = (tensor.shape[0], channels, *positions)
    if call.transposed and tensor.dim() == 5:  # a result as large as the input at first
        out = recorder.resized(recorder.new(tensor.shape, tensor.dtype), shape)
    else:
        out = recorder.new(shape, tensor.dtype)
    ones = [out[0, 0].numel() * out.element_size()] if call.transposed and has_bias else []
    reads_as_it_is = _is_plain(tensor, call) and reads_input_as_it_is(weight.shape[2:], call.stride, call.padding)
    columns = [] if reads_as_it_is else [_columns_bytes(tensor, weight, call, positions)]
    with recorder.ledger.scratch([*columns, *ones]):
        hold_workspace(recorder)
        return out


def _is_plain(tensor: torch.Tensor, call: Call) -> bool:
    """Volumes take the kernels for dilated ones: there are no others on a card."""
    return tensor.dim() == 4 and not call.transposed and not call.is_dilated


def _columns_bytes(tensor: torch.Tensor, weight: torch.Tensor, call: Call, positions: Sequence[int]) -> int:
    """A transposed convolution goes from the columns to its output, the others from their input to the columns."""
    places = tensor.shape[2:] if call.transposed else positions
    return columns_bytes(weight.shape[1], weight.shape[2:], places, tensor.element_size())


def _backward(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, call: Call, mask: Sequence[bool]
) -> Gradients:
    kind: Callable[..., Gradients] = (
        _transposed_backward if call.transposed else _plain_backward if _is_plain(tensor, call) else _dilated_backward)
    same = recorder.contiguous(grad)
    columns = _columns_bytes(tensor, weight, call, grad.shape[2:])
    gradients = kind(recorder, same, tensor, weight, columns, mask)
    del same
    return gradients


def _plain_backward(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, columns: int,
    mask: Sequence[bool],
) -> Gradients:
    """The columns are made for the first gradient that needs them (`slow_conv2d_backward_out_cuda`)."""
    of_input = recorder.new(tensor.shape, tensor.dtype) if mask[0] else None
    with recorder.ledger.scratch([columns] if mask[0] else []):
        hold_workspace(recorder)
        of_bias = bias_gradient(recorder, grad) if mask[2] else None
        of_weight = recorder.new(weight.shape, weight.dtype) if mask[1] else None
        with recorder.ledger.scratch([columns] if mask[1] and not mask[0] else []):
            return of_input, of_weight, of_bias


def _dilated_backward(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, columns: int,
    mask: Sequence[bool],
) -> Gradients:
    """All gradients, the columns, then the bias' gradient of one sample after another."""
    of_input = recorder.new(tensor.shape, tensor.dtype) if mask[0] else None
    of_weight = recorder.new(weight.shape, weight.dtype) if mask[1] else None
    of_bias = recorder.new((weight.shape[0],), grad.dtype) if mask[2] else None
    with recorder.ledger.scratch([columns]):
        hold_workspace(recorder)
        for sample in grad if of_bias is not None else ():
            with recorder.ledger.scratch([weight.shape[0] * grad.element_size()]):
                play_scratch(recorder, sample, range(1, sample.dim()), sample[:, 0])
        return of_input, of_weight, of_bias


def _transposed_backward(
    recorder: Recorder, grad: torch.Tensor, tensor: torch.Tensor, weight: torch.Tensor, columns: int,
    mask: Sequence[bool],
) -> Gradients:
    """Columns for the input's gradient, and again for the weight's, after room for both of the parameters."""
    of_input = recorder.new(tensor.shape, tensor.dtype) if mask[0] else None
    with recorder.ledger.scratch([columns] if mask[0] else []):
        hold_workspace(recorder)
    of_weight = recorder.new(weight.shape, weight.dtype) if mask[1] else None
    of_bias = bias_gradient(recorder, grad) if mask[2] else None
    with recorder.ledger.scratch([columns] if mask[1] else []):
        hold_workspace(recorder)
    return of_input, of_weight, of_bias
