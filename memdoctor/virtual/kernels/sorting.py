"""Scratch of sorting: CUB's radix sort, and what PyTorch puts around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

_ALIGNMENT = 256
"""`ALIGN_BYTES` of `AliasTemporaries` (cub/util_temporary_storage.cuh); as many bytes less one come on top."""
_RADIX_BITS = 8
_THREADS = 384
_SINGLE_TILE = 2304
"""Elements of eight bytes that one block sorts by itself."""
_ITEMS_PER_THREAD = {(8, 8): 12, (4, 8): 14, (2, 8): 14}
"""By bytes of key and value: `Policy900` of cub/device/dispatch/tuning/tuning_radix_sort.cuh."""
_LONG_ROW = 4096
"""Longer rows are not sorted within one block (aten/src/ATen/native/cuda/Sort.cpp)."""


def radix_sort_scratch(count: int, key_bytes: int, value_bytes: int, bits: int) -> int:
    """Temporary storage of `DeviceRadixSort::SortPairs`.

    A histogram per pass, a look-back table with a row per tile, counters; with more than one pass also a second copy of
    keys and values. One byte where a single block does it.
    """
    if count <= _SINGLE_TILE:
        return 1
    passes = -(-bits // _RADIX_BITS)
    tile = _THREADS * _ITEMS_PER_THREAD.get((key_bytes, value_bytes), 12)
    digits = 1 << _RADIX_BITS
    copies = [] if passes == 1 else [count * key_bytes, count * value_bytes]
    parts = [passes * digits * 8, digits * 4 * -(-count // tile), *copies, 1]
    return sum(-(-part // _ALIGNMENT) * _ALIGNMENT for part in parts) + _ALIGNMENT - 1


_WARP = 32
_UNIQUE_TILES = {(8, 0): 1792, (9, 0): 4480, (10, 0): 3840, (12, 0): 3840}
"""Elements of a tile by compute capability, where it is tuned (cub/device/dispatch/tuning); measured."""


def scan_scratch(count: int, tile: int = 896) -> int:
    """Temporary storage of CUB's scans of int64: two words per tile and for a warp, and what aligns them."""
    words = 16 * (-(-count // tile) + _WARP)
    return -(-words // _ALIGNMENT) * _ALIGNMENT + 2 * _ALIGNMENT - 1


def unique_scratch(count: int, capability: tuple[int, int]) -> int:
    """Temporary storage of `DeviceSelect::UniqueByKey` with keys and values of int64: a scan over larger tiles."""
    return scan_scratch(count, _UNIQUE_TILES.get(capability, 320))


def sort_scratch(shape: Sequence[int], dim: int, key_bytes: int) -> list[int]:
    """Beside values and indices: positions; for many long rows also pairs of row and position, and a copy of the keys.

    Source: `sort_cuda_kernel` and `segmented_sort_large_segments` (aten/src/ATen/native/cuda/Sort.cpp).
    """
    length = shape[dim] if shape else 1
    count = 1
    for size in shape:
        count *= size
    if length <= _LONG_ROW:
        return [8 * length]
    radix = radix_sort_scratch(count, key_bytes, 8, 8 * key_bytes)
    return [8 * count, radix] if count == length else [8 * count, 8 * count, key_bytes * count, radix]


def random_permutation_scratch(count: int) -> list[int]:
    """Positions, random keys before and after sorting, and the sort (aten/src/ATen/native/cuda/Randperm.cu).

    Keys have as many bits as make equal ones unlikely; up to 32 bits they are int32.
    """
    bits = min(64, math.ceil(math.log2(count - (6 * count * count + 1) / _LOG_THRESHOLD_12))) if count > 1 else 8
    key_bytes = 4 if bits <= 32 else 8
    keys = count * key_bytes
    return [8 * count, keys, keys, radix_sort_scratch(count, key_bytes, 8, bits)]


_LOG_THRESHOLD_12 = math.log(0.9) * 12


def sorted_sum_scratch(count: int, targets: int) -> list[int]:
    """`index_put` that accumulates: sorted indices, their origins, the range, and the sort (Indexing.cu)."""
    return [8 * count] * 3 + [radix_sort_scratch(count, 8, 8, max(1, targets).bit_length())]
