"""Scratch of the dense embedding backward, which sorts its indices when there are many."""

from __future__ import annotations

from memdoctor.virtual.kernels.sorting import scan_scratch, unique_scratch

_FEW_INDICES = 3072
"""Up to here one kernel without scratch does it (aten/src/ATen/native/cuda/Embedding.cu)."""
_SEGMENT = 10
"""`NROWS_PER_THREAD` of EmbeddingBackwardKernel.cu."""

Steps = list[tuple[list[int], list[int]]]
"""Blocks that stay until the end, and then blocks that are given back at once."""


def is_sorted_first(indices: int) -> bool:
    return indices > _FEW_INDICES


def summed_by_segments(
    indices: int, rows: int, width: int, *, capability: tuple[int, int], splits_rows: bool = False
) -> Steps:
    """What adding up the gradients of sorted indices takes (`embedding_backward_cuda_kernel`).

    Offsets of the segments and their number; partials per segment and their offsets; the number of partials, their
    offsets, and a gradient for each, or its row alone.
    """
    segments = min(indices, rows)
    partials = indices // _SEGMENT + segments
    last = 8 * partials if splits_rows else 4 * partials * width
    return [
        ([8 * indices, 8], [8 * indices, unique_scratch(indices, capability)]),
        ([8 * segments, 8 * segments], [scan_scratch(segments)]),
        ([8, 8 * partials, last], []),
    ]


def splits_rows(indices: int, rows: int, *, sm_count: int) -> bool:
    """Few rows with many partials are split over blocks."""
    return rows < 4 * sm_count and indices // _SEGMENT > 3 * min(indices, rows)
