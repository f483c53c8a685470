"""Losses that compute element by element first and reduce then."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.operators.reductions import play_scratch
from memdoctor.virtual.ownership import in_backward, is_sole
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
    logarithm, unreduced = recorder.new_like(tensor), recorder.new_like(tensor)
    if reduction == _NO_REDUCTION:
        return unreduced
    result = recorder.new((), tensor.dtype)
    play_scratch(recorder, unreduced, range(unreduced.dim()), result)
    del logarithm
    return result


def _reduced_into_itself(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`soft_margin_loss` in Loss.cpp: the full loss, its mean, which is copied into the shrunk first."""
    shape = _reduced_shape(args, kwargs)
    return recorder.run(func, args, kwargs) if shape is None else _shrunk(recorder, recorder.new(shape, args[0].dtype))


def _shrunk(recorder: Recorder, unreduced: torch.Tensor) -> torch.Tensor:
    """The loss keeps the storage of the full one alive."""
    mean = recorder.new((), unreduced.dtype)
    play_scratch(recorder, unreduced, range(unreduced.dim()), mean)
    return unreduced.as_strided((), (), 0)


def _soft_margin_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad, self, target, reduction)`: negated target, its product and the exponential, then the result."""
    tensor = args[1]
    negated, product, power = (recorder.new_like(tensor) for _ in range(3))
    del product, negated
    out = recorder.new_like(tensor)
    del power
    return out


def _log_sigmoid(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """CUDA computes the buffer anew in backward."""
    return recorder.new_like(args[0]), recorder.new((0,), args[0].dtype)


def _of_logits_backward(
    recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The formula of `binary_cross_entropy_with_logits` works in place; only while a mode is active it copies.

    `areAnyTensorSubclassLike` (torch/csrc/autograd/FunctionsManual.cpp) is true for every tensor then.
    """
    if in_backward() and _node_name().startswith("BinaryCrossEntropyWithLogits") and is_sole(args[0]):
        return args[0]
    return recorder.run(func, args, kwargs)


def _node_name() -> str:
    node = torch._C._current_autograd_node() if hasattr(torch._C, "_current_autograd_node") else None
    return "" if node is None else str(node.name())


def _of_probabilities(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`binary_cross_entropy(self, target, weight, reduction)`: made at full size and shrunk (native/cuda/Loss.cu)."""
    tensor, reduction = args[0], args[3] if len(args) > 3 else kwargs.get("reduction", _MEAN)
    if reduction == _NO_REDUCTION:
        return recorder.run(func, args, kwargs)
    return _shrunk(recorder, recorder.new_like(tensor))


def _by_sample(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`multi_margin_loss`: the result, then a loss for each sample (native/cuda/MultiMarginLoss.cu)."""
    out = recorder.run(func, args, kwargs)
    samples = recorder.new((args[0].shape[0],), args[0].dtype) if args[0].dim() == 2 and not out.dim() else None
    if samples is not None:
        play_scratch(recorder, samples, {0}, out)
    return out


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
    aten.binary_cross_entropy.default: _of_probabilities,
    aten.binary_cross_entropy_with_logits.default: _with_logits,
    aten.multi_margin_loss.default: _by_sample,
    aten.soft_margin_loss.default: _reduced_into_itself,
    aten.soft_margin_loss_backward.default: _soft_margin_backward,
    aten.log_sigmoid_forward.default: _log_sigmoid,
    aten.sub.Tensor: _of_logits_backward,
    aten.mul.Tensor: _of_logits_backward,
}
