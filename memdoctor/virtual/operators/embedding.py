"""Embeddings: a copy of indices that do not lie in a row, and the sorted backward."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.kernels.embedding import embedding_backward_held
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _embedding(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    indices = args[1]
    if indices.is_contiguous():
        return recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([8 * indices.numel()]):
        return recorder.run(func, args, kwargs)


def _backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_output, indices, num_weights, ...)`."""
    grad, indices, rows = args[:3]
    grad = recorder.contiguous(grad)
    width = grad.shape[-1]
    held = embedding_backward_held(indices.numel(), rows, width, sm_count=recorder.card.sm_count)
    if not held:
        return recorder.new((rows, width), grad.dtype)
    with recorder.ledger.scratch(held[:2]):
        out = recorder.new((rows, width), grad.dtype)
        with recorder.ledger.scratch(held[2:]):
            return out


RULES: dict[Any, Rule] = {
    aten.embedding.default: _embedding,
    aten.embedding_dense_backward.default: _backward,
}
