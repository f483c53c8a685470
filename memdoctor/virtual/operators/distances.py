"""Distances of many points: by one matrix product, or one by one with a buffer for the slopes of all pairs."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.operators.by_parts import by_parts
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _cdist_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad, x1, x2, p, cdist)`: the slopes of every pair, summed afterwards (native/cuda/DistanceKernel.cu)."""
    first, distances = args[1], args[4]
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([distances.numel() * first.shape[-1] * first.element_size()]):
        return out


def _pdist_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad, self, p, pdist)`: likewise, for both points of a pair."""
    tensor, distances = args[1], args[3]
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([2 * distances.numel() * tensor.shape[-1] * tensor.element_size()]):
        return out


RULES: dict[Any, Rule] = {
    aten._cdist_backward.default: _cdist_backward,
    aten._euclidean_dist.default: by_parts,
    aten._pdist_backward.default: _pdist_backward,
}
