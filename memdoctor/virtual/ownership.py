"""Whether an operator is the only one that holds a tensor, so that a card's PyTorch would write to it in place."""

from __future__ import annotations

import functools
import sys
from types import FrameType
from typing import Any

import torch

from memdoctor.foundation.tracebacks import OUR_FOLDER

_COUNTS_REFERENCES = hasattr(torch._C, "_storage_Use_Count") and hasattr(torch.Tensor, "_use_count")
_SOLE_TENSOR_COUNT = 4
"""Of a tensor that only C++ held when it reached the dispatch mode."""
_KEEPS_GRAPH: Any = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: False)
_ENGINE = torch.autograd.graph._engine_run_backward.__code__
_OPERATORS = torch._ops.__file__


def in_backward() -> bool:
    """Whether autograd itself computes gradients that have no graph of their own.

    Hooks and backwards of the program run within it too; what they call does what it does anywhere.
    """
    return torch._C._current_graph_task_id() != -1 and not torch.is_grad_enabled() and _is_autograds()


class Formula:
    """Since when the node at hand has been at work, in births of storages; autograd itself does not tell.

    What a formula of a derivative adds up is a new tensor, where paths that meet are added in place.
    """

    __slots__ = ("_name", "_number", "_start")

    def __init__(self) -> None:
        self._name = ""
        self._number = self._start = -1
        """With the name: nodes that were made in backward may have the numbers of others (`numbering.py`)."""

    def note(self, birth: int) -> None:
        """A storage was born in backward.

        A graph that is kept is left alone: asked for a node, PyTorch 2.13 later drops what it saved in another order.
        """
        if _KEEPS_GRAPH():
            return
        node = torch._C._current_autograd_node()
        if node is not None and not self._is(node):
            self._name, self._number, self._start = node.name(), node._sequence_nr(), birth

    def made(self, *births: int) -> bool:
        """Whether all were born in the formula at hand, and autograd would not add them: they go different ways."""
        if _KEEPS_GRAPH() or min(births) < self._start:
            return False
        node = torch._C._current_autograd_node()
        return node is not None and self._is(node) and not _answers_twice(node)

    def _is(self, node: Any) -> bool:
        return bool(node._sequence_nr() == self._number and node.name() == self._name)


def _answers_twice(node: Any) -> bool:
    """Whether two results of the node are gradients of the same tensor, as those of `x * x` are."""
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    return len(set(edges)) < len(edges)


def _is_autograds() -> bool:
    """Whether the operator at hand was called by the engine; a thread that the engine started has no other frames."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((OUR_FOLDER, _OPERATORS)):
        frame = frame.f_back
    return frame is None or frame.f_code is _ENGINE


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
