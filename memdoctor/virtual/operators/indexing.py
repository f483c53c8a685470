"""Reading and writing by index: copies of index tensors, the sorted sum, and writes that a card does in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from memdoctor.virtual.kernels.sorting import scan_scratch, sorted_sum_scratch
from memdoctor.virtual.ownership import in_backward, is_sole
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_INDEX_BYTES = 8


def _index(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Several indices are broadcast; where their strides differ then, each is copied (TensorAdvancedIndexing.cpp)."""
    indices = [index for index in args[1] if index is not None]
    with recorder.ledger.scratch(_index_copies(indices)):
        return recorder.run(func, args, kwargs)


def _index_copies(indices: Sequence[torch.Tensor]) -> list[int]:
    if len(indices) < 2:
        return []
    whole = torch.broadcast_tensors(*indices)  # type: ignore[no-untyped-call]  # untyped in torch
    if all(index.stride() == whole[0].stride() for index in whole):
        return []
    return [_INDEX_BYTES * index.numel() for index in whole if not index.is_contiguous()]


def _index_put(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, indices, values, accumulate, ...)`; a sum over equal indices is made by sorting them."""
    tensor, indices, values = args[:3]
    accumulates = args[3] if len(args) > 3 else kwargs.get("accumulate", False)
    out = _written(recorder, func, args, kwargs, _SOLE_IN_A_LIST)
    if accumulates:
        _play_sorted_sum(recorder, tensor, indices, values)
    return out


def _play_sorted_sum(
    recorder: Recorder, tensor: torch.Tensor, indices: Sequence[torch.Tensor | None], values: torch.Tensor
) -> None:
    """Linear indices, a copy of values that are not contiguous, then the sort."""
    count = math.prod(torch.broadcast_shapes(  # type: ignore[no-untyped-call]  # untyped in torch
        *(index.shape for index in indices if index is not None)))
    slice_elements = math.prod(tensor.shape[len(indices):])
    targets = tensor.numel() // max(1, slice_elements) - 1
    linear = _INDEX_BYTES * count
    copies = [] if values.is_contiguous() else [values.nbytes]
    copies += [tensor.nbytes] if _are_apart(indices) else []
    with recorder.ledger.scratch([linear]):
        with recorder.ledger.scratch([linear]):
            pass
        with recorder.ledger.scratch([*copies, *sorted_sum_scratch(count, targets)]):
            pass


def _are_apart(indices: Sequence[torch.Tensor | None]) -> bool:
    """Their dimensions come first then, and the tensor that is written to is copied in that order."""
    places = [place for place, index in enumerate(indices) if index is not None]
    return places[-1] - places[0] >= len(places)


def _scatter(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _written(recorder, func, args, kwargs, _SOLE)


def _written(
    recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], sole_count: int
) -> Any:
    """Formulas of derivatives write into the zeros they have just made; only while a mode is in place they copy.

    `areAnyTensorSubclassLike` (torch/csrc/autograd/FunctionsManual.cpp) is true for every tensor then.
    """
    if in_backward() and is_sole(args[0], sole_count) and not _keeps_its_operand():
        recorder.check(func, args, kwargs)
        return args[0]
    return recorder.run(func, args, kwargs)


def _keeps_its_operand() -> bool:
    """The slopes of extremes by index are the one formula that adds to a copy."""
    node = torch._C._current_autograd_node()
    return node is not None and node.name().startswith(("ScatterReduceBackward", "IndexReduceBackward"))


_SOLE = 4
_SOLE_IN_A_LIST = 5
"""Of a tensor in an operator that is handed on by another rule (`answers.py`)."""


def _scatter_reduce(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, dim, index, src, reduce)`: means count first, by ones of the source's shape."""
    out = recorder.run(func, args, kwargs)
    if args[4] == "mean":
        with recorder.ledger.scratch([args[3].nbytes, out.nbytes, out.numel()]):
            pass
    return out


def _masked_scatter(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, mask, source)`: which element of the source each one takes is a running sum of the mask."""
    count = args[0].numel()
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([_INDEX_BYTES * count, scan_scratch(count)]):
        return out


def _searched(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(sorted_sequence, values)` or the other way round: copies of what is not contiguous (BucketizationUtils.h)."""
    out = recorder.run(func, args, kwargs)
    values, boundaries = args[:2] if func is aten.bucketize.Tensor else reversed(args[:2])
    with recorder.ledger.scratch([one.nbytes for one in (values, boundaries) if not one.is_contiguous()]):
        return out


def _unfold_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad, input_sizes, dim, ...)`: positions along the dimension (aten/src/ATen/native/UnfoldBackward.cpp)."""
    sizes, dim = args[1:3]
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([_INDEX_BYTES * sizes[dim]] if sizes else []):
        return out


def _roll(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One dimension after the other, with every step alive until the end (native/TensorTransformations.h).

    The first begins with a copy of a tensor that is not contiguous, and drops it.
    """
    tensor, shifts = args[:2]
    first = [] if tensor.is_contiguous() else [tensor.nbytes]
    if len(shifts) == 1:
        with recorder.ledger.scratch(first):
            return recorder.run(func, args, kwargs)
    with recorder.ledger.scratch(first):
        steps = [recorder.ledger.malloc(tensor.nbytes)]
    steps += [recorder.ledger.malloc(tensor.nbytes) for _ in shifts[2:]]
    out = recorder.run(func, args, kwargs)
    for block in reversed(steps):
        recorder.ledger.free(block)
    return out


def _pack(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, lengths, batch_first)`: a copy of each run of steps with the same sequences, joined at the end."""
    tensor, lengths, batch_first = args
    steps_first = tensor.transpose(0, 1) if batch_first else tensor
    runs, before = [], 0
    for count, length in zip(range(len(lengths), 0, -1), reversed(lengths.tolist())):
        part = steps_first[before:length, :count]
        runs += [part.nbytes] if length > before and not part.is_contiguous() else []
        before = length
    blocks = [recorder.ledger.malloc(nbytes) for nbytes in runs]
    out = recorder.run(func, args, kwargs)
    for block in blocks:
        recorder.ledger.free(block)
    return out


RULES: dict[Any, Rule] = {
    aten._pack_padded_sequence.default: _pack,
    aten.index.Tensor: _index,
    aten.index_put.default: _index_put,
    aten.index_put_.default: _index_put,
    aten._index_put_impl_.default: _index_put,
    **{operator: _scatter for operator in (
        aten.scatter.src, aten.scatter.value, aten.scatter_add.default, aten.index_add.default, aten.put.default,
        aten.logical_and.default, aten.logical_or.default)},
    aten.masked_scatter.default: _masked_scatter,
    aten.bucketize.Tensor: _searched,
    aten.searchsorted.Tensor: _searched,
    aten.unfold_backward.default: _unfold_backward,
    aten.scatter_reduce.two: _scatter_reduce,
    aten.roll.default: _roll,
}
