"""Writing one number over a whole tensor: whatever was in it, its contents are known from then on."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _fill(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, value)`, or `(self)` for zero. Counters that are set back are read later: batch norm's, say."""
    tensor = args[0]
    out = recorder.run(func, args, kwargs)
    if tensor.is_meta and recorder.known.follows(tensor) and not recorder.known.has(tensor):
        value = args[1] if len(args) > 1 else 0
        recorder.known.learn(tensor, torch.full(tensor.shape, value, dtype=tensor.dtype, device="cpu"))
    return out


RULES: dict[Any, Rule] = {aten.zero_.default: _fill, aten.fill_.Scalar: _fill}
