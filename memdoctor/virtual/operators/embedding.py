"""Embeddings: a copy of indices that do not lie in a row, and the sorted backward."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.kernels.embedding import embedding_backward_held, embedding_bag_backward_held
from memdoctor.virtual.kernels.sorting import radix_sort_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_INDEX_BYTES = 8


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
        _play_sort(recorder, indices.numel())
        out = recorder.new((rows, width), grad.dtype)
        with recorder.ledger.scratch(held[2:]):
            return out


def _bag(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Sizes of the bags, the bag of each index, the output: the results in another order than they are returned in.

    Source: `_embedding_bag_cuda` (aten/src/ATen/native/cuda/EmbeddingBag.cu).
    """
    like = recorder.run_unrecorded(func, args, kwargs)
    sizes, bags, out, largest = (recorder.new(like[index].shape, like[index].dtype) for index in (2, 1, 0, 3))
    return out, bags, sizes, largest


def _bag_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad, indices, offsets, offset2bag, bag_size, maximum_indices, num_weights, scale, mode, sparse, ...)`."""
    grad, indices, rows, mode, is_sparse = args[0], args[1], args[6], args[8], args[9]
    if is_sparse or mode == _MAXIMUM or not indices.numel():
        return recorder.run(func, args, kwargs)
    width, count = grad.shape[-1], indices.numel()
    positions = [_INDEX_BYTES * count] * 2
    with recorder.ledger.scratch(positions):
        _play_sort(recorder, count)
        out = recorder.new((rows, width), grad.dtype)
        with recorder.ledger.scratch(embedding_bag_backward_held(count, rows, width)):
            return out


def _play_sort(recorder: Recorder, count: int) -> None:
    """The indices' own positions are sorted with them."""
    with recorder.ledger.scratch(
            [_INDEX_BYTES * count, radix_sort_scratch(count, _INDEX_BYTES, _INDEX_BYTES, _ALL_BITS)]):
        pass


_ALL_BITS = 64
_MAXIMUM = 2
"""`mode` of `embedding_bag`: sum, mean, max."""

RULES: dict[Any, Rule] = {
    aten._embedding_bag.default: _bag,
    aten._embedding_bag_forward_only.default: _bag,
    aten._embedding_bag_backward.default: _bag_backward,
    aten.embedding.default: _embedding,
    aten.embedding_dense_backward.default: _backward,
}
