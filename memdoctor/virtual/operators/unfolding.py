"""Columns of images and back: results that begin as large as the input, and keep its room where they need less."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _rearranged(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`empty_like` of the input, a copy of one that is not contiguous, then `resize_` (Im2Col.cu, Col2Im.cu)."""
    tensor = args[0]
    shape = recorder.run_unrecorded(func, args, kwargs).shape
    out = recorder.new(tensor.shape, tensor.dtype)
    with recorder.ledger.scratch([] if tensor.is_contiguous() else [tensor.nbytes]):
        return recorder.resized(out, shape)


RULES: dict[Any, Rule] = {aten.im2col.default: _rearranged, aten.col2im.default: _rearranged}
