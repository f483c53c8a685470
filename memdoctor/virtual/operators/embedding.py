"""Embeddings: a copy of indices that do not lie in a row, and the sorted backward."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from memdoctor.virtual.kernels.embedding import is_sorted_first, splits_rows, summed_by_segments
from memdoctor.virtual.kernels.sorting import radix_sort_scratch, scan_scratch
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
    """`(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq)`."""
    grad, indices, rows = args[:3]
    by_frequency = len(args) > 4 and args[4]
    indices = recorder.contiguous(indices)
    grad = recorder.contiguous(grad)
    count = indices.numel()
    if not (is_sorted_first(count) or by_frequency):
        return recorder.new((rows, grad.shape[-1]), grad.dtype)
    splits = splits_rows(count, rows, sm_count=recorder.card.sm_count)
    return _summed(recorder, grad, count, rows, by_frequency=by_frequency, splits=splits)


def _summed(
    recorder: Recorder, grad: torch.Tensor, count: int, rows: int, *, by_frequency: bool = False, splits: bool = False
) -> torch.Tensor:
    """Indices and their positions are sorted, those of equal ones counted where it matters, gradients added up."""
    shape = rows, grad.shape[-1]
    positions = [_INDEX_BYTES * count]
    with contextlib.ExitStack() as held:
        held.enter_context(recorder.ledger.scratch(2 * positions))
        _pass(recorder, [*positions, radix_sort_scratch(count, _INDEX_BYTES, _INDEX_BYTES, _ALL_BITS)])
        if by_frequency:
            held.enter_context(recorder.ledger.scratch(positions))
            for _ in range(2):
                _pass(recorder, [scan_scratch(count)])
        out = recorder.new(shape, grad.dtype)
        for staying, passing in summed_by_segments(
                count, *shape, capability=recorder.card.compute_capability, splits_rows=splits):
            held.enter_context(recorder.ledger.scratch(staying))
            _pass(recorder, passing)
        if splits and grad.element_size() < _FLOAT_BYTES:
            _pass(recorder, [_FLOAT_BYTES * out.numel()])
        return out


def _pass(recorder: Recorder, blocks: list[int]) -> None:
    with recorder.ledger.scratch(blocks):
        pass


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
    if is_sparse or not indices.numel():
        return recorder.run(func, args, kwargs)
    return _dense_bag_gradient(recorder, grad, indices, rows, mode)


def _dense_bag_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad, indices, offset2bag, bag_size, maximum_indices, num_weights, scale, mode, ...)`, in 2.4."""
    return _dense_bag_gradient(recorder, args[0], args[1], args[5], args[7])


def _dense_bag_gradient(recorder: Recorder, grad: torch.Tensor, indices: torch.Tensor, rows: int, mode: int) -> Any:
    grad = recorder.contiguous(grad)
    if mode == _MAXIMUM or not indices.numel():
        return recorder.new((rows, grad.shape[-1]), grad.dtype)
    return _summed(recorder, grad, indices.numel(), rows)


_ALL_BITS = 64
_FLOAT_BYTES = 4
_MAXIMUM = 2
"""`mode` of `embedding_bag`: sum, mean, max."""

RULES: dict[Any, Rule] = {
    aten._embedding_bag.default: _bag,
    aten._embedding_bag_forward_only.default: _bag,
    aten._embedding_bag_backward.default: _bag_backward,
    aten._embedding_bag_dense_backward.default: _dense_bag_backward,
    aten.embedding.default: _embedding,
    aten.embedding_dense_backward.default: _backward,
}
