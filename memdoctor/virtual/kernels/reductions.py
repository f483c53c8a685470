"""Scratch of `gpu_reduce_kernel`: sums, means and norms that several thread blocks share.

Each block writes its partial results to a global buffer and counts itself in a semaphore; both follow from the launch
configuration that `setReduceConfig` chooses (aten/src/ATen/native/cuda/Reduce.cuh).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

_WARP = 32
_MAX_THREADS = 512
"""`MAX_NUM_THREADS` of Reduce.cuh, for the result type of four bytes."""
_INPUT_VECTOR = 4
_OUTPUT_VECTOR = 4


class _Dimension(NamedTuple):
    size: int
    stride: int
    output_stride: int
    is_reduced: bool


class _Launch(NamedTuple):
    """The first two dimensions as the kernel sees them, and how many results a thread computes."""

    fastest: int
    slowest: int
    reduces_fastest: bool
    results_per_thread: int
    outputs: int
    inputs_per_output: int


def reduction_scratch(
    shape: Sequence[int],
    strides: Sequence[int],
    reduced: Collection[int],
    *,
    accumulator_bytes: int,
    sm_count: int,
    threads_per_sm: int,
) -> list[int]:
    """Global buffer and semaphores; empty where one block per result is enough.

    `strides` are in elements, `reduced` the dimensions that disappear.
    """
    if not math.prod(shape):
        return []
    launch = _launch(shape, strides, reduced)
    width, height = _block(launch)
    step_in, step_out = (width, 1) if launch.reduces_fastest else (1, width)
    values = _ceil(launch.inputs_per_output, step_in)
    rows_reduce = values >= min(height * 16, 256)
    step_in, step_out = (step_in * height, step_out) if rows_reduce else (step_in, step_out * height)
    values = _ceil(launch.inputs_per_output, step_in)
    grid = _ceil(launch.outputs // launch.results_per_thread, step_out)
    blocks = _blocks_per_output(values, grid, sm_count * (threads_per_sm // (width * height))) if rows_reduce else 1
    if blocks <= 1:
        return []
    lanes = 1 if launch.reduces_fastest else width * launch.results_per_thread
    return [accumulator_bytes * launch.outputs * blocks * lanes, 4 * grid]


def _blocks_per_output(values: int, grid: int, target: int) -> int:
    if values < 256 or grid > target:
        return 1
    return max(min(_ceil(target, grid), _ceil(values, 16)), _ceil(values, 256))


def _launch(shape: Sequence[int], strides: Sequence[int], reduced: Collection[int]) -> _Launch:
    outputs = math.prod(size for index, size in enumerate(shape) if index not in reduced)
    inputs = math.prod(shape) // outputs
    dimensions = _coalesced(shape, strides, reduced)
    if not dimensions:
        return _Launch(1, 1, True, 1, outputs, inputs)
    count = sum(dimension.is_reduced for dimension in dimensions)
    reduces_fastest = count == len(dimensions) or (0 < count and dimensions[0].stride < dimensions[count].stride)
    if reduces_fastest:
        fastest, slowest, stride = inputs, outputs, dimensions[0].stride
        if stride == 1 and fastest >= 128 and count == 1:
            fastest //= _INPUT_VECTOR
        return _Launch(fastest, slowest, True, 1, outputs, inputs)
    fastest, slowest, stride = outputs, inputs, dimensions[count].stride
    vector = _output_vector(dimensions, count) if stride == 1 else 1
    return _Launch(fastest // vector, slowest, False, vector, outputs, inputs)


def _output_vector(dimensions: Sequence[_Dimension], count: int) -> int:
    """The widest load that divides the fastest kept dimension and every other stride."""
    vector = _OUTPUT_VECTOR
    others = [dimension.stride for index, dimension in enumerate(dimensions) if index != count]
    for number in (dimensions[count].size, *others):
        while number % vector:
            vector //= 2
    return vector


def _block(launch: _Launch) -> tuple[int, int]:
    """Threads of a block, along the fastest dimension and across it."""
    limit = _MAX_THREADS // launch.results_per_thread
    wide, high = (min(_power_of_two_below(size), limit) for size in (launch.fastest, launch.slowest))
    width = min(wide, _WARP)
    height = min(high, limit // width)
    return min(wide, limit // height), height


def _coalesced(shape: Sequence[int], strides: Sequence[int], reduced: Collection[int]) -> list[_Dimension]:
    """As TensorIterator orders and joins them: reduced dimensions first, each group by stride."""
    output_strides = _output_strides(shape, reduced)
    kept = [index for index, size in enumerate(shape) if size != 1]
    order = sorted(kept, key=lambda index: (index not in reduced, strides[index], -index))
    joined: list[_Dimension] = []
    for index in order:
        is_reduced = index in reduced
        if joined and _continues(joined[-1], strides[index], output_strides[index], is_reduced):
            joined[-1] = joined[-1]._replace(size=joined[-1].size * shape[index])
        else:
            joined.append(_Dimension(shape[index], strides[index], output_strides[index], is_reduced))
    return joined


def _continues(previous: _Dimension, stride: int, output_stride: int, is_reduced: bool) -> bool:
    return (
        previous.is_reduced == is_reduced
        and previous.size * previous.stride == stride
        and previous.size * previous.output_stride == output_stride
    )


def _output_strides(shape: Sequence[int], reduced: Collection[int]) -> list[int]:
    strides, step = [0] * len(shape), 1
    for index in reversed(range(len(shape))):
        if index not in reduced:
            strides[index] = step
            step *= shape[index]
    return strides


def _power_of_two_below(number: int) -> int:
    return 1 << (max(1, number).bit_length() - 1)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)
