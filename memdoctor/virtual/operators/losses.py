"""Losses that compute element by element first and reduce then."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.operators.reductions import play_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_NO_REDUCTION = 0


def _elementwise_loss(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The unreduced loss lives until the reduction is done (aten/src/ATen/native/Loss.cpp)."""
    first, second = args[:2]
    reduction = args[2] if len(args) > 2 else kwargs.get("reduction", 1)
    if not first.is_meta or reduction == _NO_REDUCTION:
        return recorder.run(func, args, kwargs)
    shape = torch.broadcast_shapes(first.shape, second.shape)  # type: ignore[no-untyped-call]  # untyped in torch
    unreduced = recorder.new(shape, first.dtype)
    out = recorder.run(func, args, kwargs)
    play_scratch(recorder, unreduced, range(unreduced.dim()), out)
    return out


RULES: dict[Any, Rule] = {
    aten.mse_loss.default: _elementwise_loss,
    aten.smooth_l1_loss.default: _elementwise_loss,
    aten.huber_loss.default: _elementwise_loss,
}
