"""Whether an operator is the only one that holds a tensor, so that a card's PyTorch would write to it in place."""

from __future__ import annotations

import functools
from typing import Any

import torch

_COUNTS_REFERENCES = hasattr(torch._C, "_storage_Use_Count") and hasattr(torch.Tensor, "_use_count")
_SOLE_TENSOR_COUNT = 4
"""Of a tensor that only C++ held when it reached the dispatch mode."""


def in_backward() -> bool:
    """Whether autograd computes gradients that have no graph of their own."""
    return torch._C._current_graph_task_id() != -1 and not torch.is_grad_enabled()


def is_sole(tensor: Any, tensor_count: int = _SOLE_TENSOR_COUNT) -> bool:
    """Whether nobody else holds the tensor or its storage, and every byte of it is its own."""
    return (
        _COUNTS_REFERENCES
        and tensor.is_meta
        and torch._C._storage_Use_Count(tensor.untyped_storage()._cdata) == _sole_storage_count()
        and tensor._use_count() <= tensor_count
        and not tensor._is_view()
        and _is_dense(tensor)
    )


@functools.lru_cache(maxsize=None)
def _sole_storage_count() -> int:
    """Of a storage with one tensor; whether the Python object is counted differs between versions of PyTorch."""
    tensor = torch.empty(1, device="meta")
    return int(torch._C._storage_Use_Count(tensor.untyped_storage()._cdata))


def _is_dense(tensor: torch.Tensor) -> bool:
    """Non-overlapping and dense: the strides are those of some permutation of a contiguous tensor."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.size())):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
