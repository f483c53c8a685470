"""Softmax and dropout, whose buffers CUDA takes in an order of its own."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _softmax(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, dim, half_to_float)`: the output, then a copy of a non-contiguous input."""
    tensor, _, to_float = args
    recorder.check(func, args, kwargs)
    out = recorder.new(tensor.shape, torch.float32 if to_float else tensor.dtype)
    recorder.contiguous(tensor)
    return out


def _safe_softmax(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Rows that are masked as a whole become zero: masks of all elements and of rows, and a scalar."""
    tensor, dim = args[:2]
    out = recorder.new(tensor.shape, kwargs.get("dtype") or tensor.dtype)
    rows = tensor.numel() // max(1, tensor.shape[dim])
    with recorder.ledger.scratch([tensor.numel(), rows, tensor.element_size()]):
        return out


def _softmax_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_output, output, dim, input_dtype)`: the product of both is made first (SoftMax.cu)."""
    grad, output, _, dtype = args
    out = recorder.new(grad.shape, dtype)
    with recorder.ledger.scratch([output.nbytes]):
        return out


def _log_softmax_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_output, output, dim, input_dtype)`: only a gradient that is not contiguous is copied."""
    grad, _, _, dtype = args
    out = recorder.new(grad.shape, dtype)
    recorder.contiguous(grad)
    return out


def _native_dropout(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The mask of bytes comes before the output (aten/src/ATen/native/cuda/Dropout.cu)."""
    tensor = args[0]
    mask = recorder.new_like(tensor, torch.bool)
    return recorder.new_like(tensor), mask


RULES: dict[Any, Rule] = {
    aten._softmax.default: _softmax,
    aten._log_softmax.default: _softmax,
    aten._softmax_backward_data.default: _softmax_backward,
    aten._log_softmax_backward_data.default: _log_softmax_backward,
    **({aten._safe_softmax.default: _safe_softmax} if hasattr(aten, "_safe_softmax") else {}),
    aten.native_dropout.default: _native_dropout,
}
