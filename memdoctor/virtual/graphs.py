"""CUDA graphs and `torch.cuda.MemPool`: what is allocated within them lies in private pools of the allocator.

A graph is captured by running its operators once. A replay does nothing: it allocates nothing on a card either, and
what it would compute is not computed, which `values="real"` notes as a read answered by policy.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from memdoctor.virtual.allocator import CachingAllocator
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.values import ReadLog

Handle = tuple[int, int]

_numbers = itertools.count(1)


def _ledger(ledgers: Sequence[Ledger]) -> Ledger:
    return ledgers[torch.cuda.current_device()]


class Graph:
    """Stands for `torch.cuda.CUDAGraph`."""

    ledgers: Sequence[Ledger]
    reads: ReadLog
    captures = 0
    """How many are being captured."""

    def __init__(self, keep_graph: bool = False, *, pool: Handle | None = None, **options: Any) -> None:
        self._given_pool = pool
        self._pool: Handle | None = None
        self._ledger: Ledger | None = None

    def capture_begin(self, pool: Handle | None = None, *modes: Any, **options: Any) -> None:
        owner = (next(_numbers), 0) if pool is None else (pool[0], pool[1])
        self._pool = owner
        self._ledger = _ledger(self.ledgers)
        self._ledger.change(lambda allocator: allocator.hold_pool(owner))
        self._ledger.change(lambda allocator: allocator.open_pool(owner))
        Graph.captures += 1

    def capture_end(self) -> None:
        Graph.captures -= 1
        self._change(CachingAllocator.close_pool)

    def __enter__(self) -> None:
        """As `torch.accelerator.Graph` is used."""
        torch.cuda.empty_cache()
        self.capture_begin(self._given_pool)

    def __exit__(self, *error: object) -> None:
        self.capture_end()

    def instantiate(self) -> None: ...

    def replay(self) -> None:
        self.reads.note("replay of a CUDA graph")

    def reset(self) -> None:
        """Its memory is given back by the next `empty_cache`."""
        self._change(CachingAllocator.release_pool)
        self._pool = None

    def pool(self) -> Handle | None:
        return self._pool

    def enable_debug_mode(self) -> None: ...

    def debug_dump(self, debug_path: str) -> None: ...

    def register_generator_state(self, generator: torch.Generator) -> None: ...

    def _change(self, act: Any) -> None:
        owner = self._pool
        if self._ledger is not None and owner is not None:
            self._ledger.change(lambda allocator: act(allocator, owner))

    def __del__(self) -> None:
        self.reset()


class Pool:
    """Stands for `torch.cuda.MemPool`, with the standard allocator behind it."""

    ledgers: Sequence[Ledger]

    def __init__(self, allocator: Any = None, use_on_oom: bool = False, *others: Any, **options: Any) -> None:
        self.allocator = allocator
        self.id = owner = (0, next(_numbers))
        self._ledger = _ledger(self.ledgers)
        self._ledger.change(lambda allocator: allocator.hold_pool(owner))

    def use_count(self) -> int:
        return 1

    def snapshot(self, include_traces: bool = True) -> list[dict[str, Any]]:
        return [segment for segment in self._ledger.settle().snapshot() if segment["segment_pool_id"] == self.id]

    def __del__(self) -> None:
        """The memory goes back with the pool."""
        self._ledger.change(lambda allocator: allocator.release_pool(self.id))
        self._ledger.change(lambda allocator: allocator.empty_cache(self.id))


def graph_attributes(ledgers: Sequence[Ledger], reads: ReadLog) -> dict[str, Any]:
    """By the names that `torch.cuda`, its `graphs` and its `memory` have for them."""
    def begin(device: int, owner: Handle) -> None:
        ledgers[device].change(lambda allocator: allocator.hold_pool(owner))
        ledgers[device].change(lambda allocator: allocator.open_pool(owner))

    return {
        "CUDAGraph": type("CUDAGraph", (Graph,), {"ledgers": ledgers, "reads": reads}),
        "MemPool": type("MemPool", (Pool,), {"ledgers": ledgers}),
        "_graph_pool_handle": lambda: (next(_numbers), 0),
        "is_current_stream_capturing": lambda: Graph.captures > 0,
        "_cuda_isCurrentStreamCapturing": lambda: Graph.captures > 0,
        "_cuda_beginAllocateCurrentThreadToPool": begin,
        "_cuda_beginAllocateToPool": begin,
        "_cuda_endAllocateToPool": lambda device, owner: ledgers[device].change(
            lambda allocator: allocator.close_pool(owner)),
        "_cuda_releasePool": lambda device, owner: ledgers[device].change(
            lambda allocator: allocator.release_pool(owner)),
    }
