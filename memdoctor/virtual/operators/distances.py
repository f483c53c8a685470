"""Euclidean distances of many points, by one matrix product: seen part by part, with all that is in between."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _by_parts(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The kernel of all devices, whose parts come back to the recorder (aten/src/ATen/native/Distance.cpp)."""
    with recorder:
        return func._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)


RULES: dict[Any, Rule] = {aten._euclidean_dist.default: _by_parts}
