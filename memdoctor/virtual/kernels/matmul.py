"""Workspace of cuBLAS, and operands that it cannot read as they are."""

from __future__ import annotations

from collections.abc import Sequence


def cublas_workspace_bytes(compute_capability: tuple[int, int]) -> int:
    """One per thread and stream, never given back (aten/src/ATen/cuda/CublasHandlePool.cpp)."""
    return 4096 * 8 * 1024 if compute_capability >= (9, 0) else 4096 * 1024 * 2 + 16 * 1024 * 8


def needs_copy(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a matrix is neither row- nor column-major (`prepare_matrix_for_cublas`, native/cuda/Blas.cpp)."""
    rows, columns = shape[-2:]
    down, across = strides[-2:]
    return not ((down == 1 and across >= max(1, rows)) or (across == 1 and down >= max(1, columns)))
