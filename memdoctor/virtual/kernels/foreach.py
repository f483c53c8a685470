"""Scratch of operators on lists of tensors."""

from __future__ import annotations

from collections.abc import Sequence

_CHUNK = 65_536
"""`kChunkSize` of aten/src/ATen/native/cuda/MultiTensorApply.cuh, in elements."""


def foreach_norm_scratch(element_counts: Sequence[int], accumulator_bytes: int = 4) -> int:
    """One partial norm per chunk, for as many chunks as the largest tensor has (`foreach_tensor_norm_cuda`)."""
    return len(element_counts) * max(-(-count // _CHUNK) for count in element_counts) * accumulator_bytes
