"""Tells of each backward pass: PyTorch has no hook for a whole one, but all of them go by one function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

_running_backward: Any = torch._C._current_graph_task_id


class BackwardCalls:
    """Replaces `torch.autograd.backward` until `remove()`; what it computes and raises is unchanged."""

    def __init__(self, after: Callable[[], None]) -> None:
        """`after` is called when an outermost pass has ended, in the thread that asked for it."""
        self._original = original = torch.autograd.backward

        @functools.wraps(original)
        def backward(*args: Any, **kwargs: Any) -> None:
            original(*args, **kwargs)
            if _running_backward() < 0:
                after()

        torch.autograd.backward = backward

    def remove(self) -> None:
        """What was there before is there again."""
        torch.autograd.backward = self._original
