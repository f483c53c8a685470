"""Scratch of the dense embedding backward, which sorts its indices when there are many."""

from __future__ import annotations

_FEW_INDICES = 3072
"""Up to here one kernel without scratch does it (aten/src/ATen/native/cuda/Embedding.cu)."""
_SEGMENT = 10
"""`NROWS_PER_THREAD` of EmbeddingBackwardKernel.cu."""


def embedding_backward_held(indices: int, rows: int, width: int, *, sm_count: int) -> list[int]:
    """Buffers that are alive together at the end, the gradient itself left out.

    Sorted indices, their origins, segment offsets, number of segments, partials per segment and their offsets, number
    of partials, segment offsets of the partials, gradient per partial segment.
    """
    if indices <= _FEW_INDICES:
        return []
    segments = min(indices, rows)
    partials = indices // _SEGMENT + segments
    splits_rows = rows < 4 * sm_count and indices // _SEGMENT > 3 * segments
    last = 8 * partials if splits_rows else 4 * partials * width
    return [
        8 * indices, 8 * indices, 8 * indices, 8, 8 * segments, 8 * segments, 8, 8 * partials, last,
    ]


def embedding_bag_backward_held(indices: int, rows: int, width: int) -> list[int]:
    """As above, always by segments: counts per index, the number of segments, and what follows from it."""
    partials = indices // _SEGMENT + min(indices, rows)
    return [8 * indices, 8, 8 * indices, 8 * indices, 8, 8 * partials, 4 * partials * width]
