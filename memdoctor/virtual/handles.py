"""cuBLAS handles of a card: each thread that multiplies has one, and each handle a workspace.

A thread takes a free handle at its first product and leaves it to others when it ends (`DeviceThreadHandlePool` of
aten/src/ATen/cuda/detail). Autograd's own thread, which the virtual card has not, never ends.
"""

from __future__ import annotations

import threading

import torch


class _Lease:
    """Lives in a thread's local data, and dies with the thread."""

    def __init__(self, free: list[int], handle: int) -> None:
        self._free = free
        self.handle = handle

    def __del__(self) -> None:
        self._free.append(self.handle)


class Handles:
    """Those of one card, by number."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._made = 0
        self._autograd: int | None = None
        self._thread = threading.local()

    def current(self) -> int:
        """The handle of the thread that runs this operator on a card."""
        if torch._C._current_graph_task_id() != -1:
            if self._autograd is None:
                self._autograd = self._take()
            return self._autograd
        lease: _Lease | None = getattr(self._thread, "lease", None)
        if lease is None:
            lease = self._thread.lease = _Lease(self._free, self._take())
        return lease.handle

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        self._made += 1
        return self._made
