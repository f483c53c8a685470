"""The default pools and the private ones, and which of them serves an allocation now.

Private pools belong to CUDA graphs and to `torch.cuda.MemPool`: while one is open it serves every allocation.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from memdoctor.virtual.allocator_blocks import AgedFreeBlocks, FreeBlocks, Pool
from memdoctor.virtual.allocator_counters import Counters, CountersWithoutSplits, OversizeCounters
from memdoctor.virtual.allocator_settings import BLOCK_BYTES, SMALL_BYTES, UNLIMITED, AllocatorSettings

DEFAULT_OWNER = (0, 0)
"""PyTorch's id for "no private pool"."""


@dataclass
class _Pair:
    small: Pool
    large: Pool
    users: int = 0


class Pools:
    """`small` and `large` are the pools in use now; the counters count all pools together."""

    def __init__(self, settings: AllocatorSettings) -> None:
        counters_type = CountersWithoutSplits if settings.expandable_segments else Counters
        self.everything, self.small_only, self.large_only = counters_type(), counters_type(), counters_type()
        self.oversize = OversizeCounters(settings.max_split_bytes)
        self._counters = (self.everything, self.small_only, self.large_only, self.oversize)
        self._settings = settings
        self._stream_order = {0: 0}
        """Streams by first use, the default one before all: the order of their handles in CUDA."""
        self._default = self._new_pair(DEFAULT_OWNER)
        self._private: dict[Hashable, _Pair] = {}
        self._open: list[Hashable] = []
        self._route()

    @property
    def is_private_open(self) -> bool:
        """Whether a private pool serves now; PyTorch then gives nothing back, as a graph may be recording."""
        return bool(self._open)

    def hold(self, owner: Hashable) -> None:
        """Count a user of the private pool in; the first one makes it."""
        if owner not in self._private:
            self._private[owner] = self._new_pair(owner)
        self._private[owner].users += 1

    def open(self, owner: Hashable) -> None:
        """Serve from the private pool."""
        self._open.append(owner)
        self._route()

    def close(self, owner: Hashable) -> None:
        """Serve as before `open`; what the private pool holds stays there."""
        self._open.remove(owner)
        self._route()

    def release(self, owner: Hashable) -> None:
        """Count a user of the private pool out."""
        self._private[owner].users -= 1

    def default(self) -> Iterator[Pool]:
        """The pools that serve when no private one is open, in the order in which PyTorch empties them."""
        yield from (self._default.large, self._default.small)

    def abandoned(self, owner: Hashable | None) -> Iterator[Pool]:
        """Private pools without users: those of `owner`, or of everyone."""
        for key, pair in self._private.items():
            if not pair.users and owner in (None, key):
                yield from (pair.small, pair.large)

    @property
    def default_large(self) -> Pool:
        """The pool that garbage collection looks at."""
        return self._default.large

    def cached_private_bytes(self) -> int:
        """Free bytes in private pools."""
        pools = (pool for pair in self._private.values() for pool in (pair.small, pair.large))
        return sum(block.size_bytes for pool in pools for block in pool.free_blocks())

    def note_active(self) -> None:
        """Raise the peaks of active blocks while freed blocks wait for other streams."""
        for counters in self._counters:
            counters.note_active()

    def reset_peak(self) -> None:
        """Let all peaks start again from the current values."""
        for counters in self._counters:
            counters.reset_peak()

    def stats(self) -> dict[str, int]:
        """Every counter under the name that `torch.cuda.memory_stats` gives it."""
        kinds = {"all": self.everything, "large_pool": self.large_only, "small_pool": self.small_only}
        stats = {
            f"{name}.{kind}.{metric}": value
            for kind, counters in kinds.items()
            for name, metrics in counters.as_stats().items()
            for metric, value in metrics.items()
        }
        oversize = self.oversize.as_stats()
        for name, source in (("oversize_allocations", "allocation"), ("oversize_segments", "segment")):
            stats |= {f"{name}.{metric}": value for metric, value in oversize[source].items()}
        return stats

    def _route(self) -> None:
        pair = self._private[self._open[-1]] if self._open else self._default
        self.small, self.large = pair.small, pair.large

    def _new_pair(self, owner: Hashable) -> _Pair:
        settings = self._settings
        oversize = (self.oversize,) if settings.max_split_bytes < UNLIMITED else ()
        shared = (AgedFreeBlocks if settings.garbage_collection_threshold else FreeBlocks, owner, self._stream_order)
        # A large block keeps a rest of up to 1 MiB, except where the rest can grow again.
        large_rest_bytes = BLOCK_BYTES if settings.expandable_segments else SMALL_BYTES + 1
        return _Pair(
            Pool(True, (self.everything, self.small_only, *oversize), BLOCK_BYTES, *shared),
            Pool(False, (self.everything, self.large_only, *oversize), large_rest_bytes, *shared),
        )
