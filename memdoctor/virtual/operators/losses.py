"""Losses that compute element by element first and reduce then."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.operators.reductions import play_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_NO_REDUCTION, _MEAN = 0, 1


def _resized(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result is made at full size and then shrunk to one element: the loss keeps the whole storage alive.

    Source: the structured kernels of `mse_loss` and `smooth_l1_loss` (aten/src/ATen/native/BinaryOps.cpp), whose meta
    function knows nothing of the reduction.
    """
    shape = _reduced_shape(args, kwargs)
    if shape is None:
        return recorder.run(func, args, kwargs)
    result = recorder.new(shape, args[0].dtype).as_strided((), (), 0)
    unreduced = recorder.new(shape, args[0].dtype)
    play_scratch(recorder, unreduced, range(unreduced.dim()), result)
    return result


def _unreduced_first(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`huber_loss` in Loss.cpp: the unreduced loss lives until the reduction is done."""
    shape = _reduced_shape(args, kwargs)
    if shape is None:
        return recorder.run(func, args, kwargs)
    unreduced = recorder.new(shape, args[0].dtype)
    result = recorder.new((), args[0].dtype)
    play_scratch(recorder, unreduced, range(unreduced.dim()), result)
    return result


def _with_logits(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, target, weight, pos_weight, reduction)`: logarithm and loss at full size, then the result."""
    tensor, reduction = args[0], args[4] if len(args) > 4 else kwargs.get("reduction", _MEAN)
    if reduction == _NO_REDUCTION:
        return recorder.run(func, args, kwargs)
    logarithm, unreduced = recorder.new_like(tensor), recorder.new_like(tensor)
    result = recorder.new((), tensor.dtype)
    play_scratch(recorder, unreduced, range(unreduced.dim()), result)
    del logarithm
    return result


def _reduced_shape(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Size | None:
    """The shape before the reduction; None where nothing is reduced."""
    reduction = args[2] if len(args) > 2 else kwargs.get("reduction", _MEAN)
    if reduction == _NO_REDUCTION:
        return None
    shape: torch.Size = torch.broadcast_shapes(  # type: ignore[no-untyped-call]  # untyped in torch
        args[0].shape, args[1].shape)
    return shape


RULES: dict[Any, Rule] = {
    aten.mse_loss.default: _resized,
    aten.smooth_l1_loss.default: _resized,
    aten.huber_loss.default: _unreduced_first,
    aten.binary_cross_entropy_with_logits.default: _with_logits,
}
