"""Where memory comes from when no cached block fits: the driver, and cached memory given back to it before that fails.

The order is PyTorch's: collect garbage, ask the driver; give back oversize blocks, ask again; give back all that is
cached, ask a last time.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from memdoctor.virtual.allocator_blocks import AgedFreeBlocks, Block, FreeBlocks, Pool
from memdoctor.virtual.allocator_driver import CudaMallocSegments, Driver
from memdoctor.virtual.allocator_expandable import ExpandableSegments
from memdoctor.virtual.allocator_pools import Pools
from memdoctor.virtual.allocator_settings import UNLIMITED, AllocatorSettings
from memdoctor.virtual.allocator_shortage import AllocatorOutOfMemory


class Supply:
    """New blocks for pools, within what the driver has and what the process is allowed."""

    def __init__(self, driver: Driver, settings: AllocatorSettings, pools: Pools) -> None:
        self.num_alloc_retries = 0
        self.num_ooms = 0
        self.num_syncs = 0
        self._driver = driver
        self._settings = settings
        self._pools = pools
        self.allowed_bytes: int | None = None
        """What the process may reserve; None without a limit."""
        self._segments = (ExpandableSegments if settings.expandable_segments else CudaMallocSegments)(driver, settings)

    def obtain(self, free_blocks: FreeBlocks, size_bytes: int, is_optional: bool) -> Block:
        """A block of at least `size_bytes` that was not cached; raises `AllocatorOutOfMemory`.

        For an optional one nothing is given back, and a refusal is not counted.
        """
        self._collect_garbage()
        block = self._grow(free_blocks, size_bytes)
        if block is None and is_optional:
            raise self._shortage(size_bytes)
        if block is None and self._release_oversize(free_blocks, size_bytes):
            block = self._grow(free_blocks, size_bytes)
        if block is None and not self._pools.is_private_open:
            self.release_cached(None)
            self.num_alloc_retries += 1
            block = self._grow(free_blocks, size_bytes)
        if block is None:
            self.num_ooms += 1
            self._driver.note("oom", 0, size_bytes)
            raise self._shortage(size_bytes)
        return block

    def release_cached(self, owner: Hashable | None) -> None:
        """Give back memory in which no block is in use: that of an abandoned private pool, or (None) all.

        While a private pool is open, a graph may be recording, and the default pools stay as they are.
        """
        if owner is None and not self._pools.is_private_open:
            self.num_syncs += 1
            for pool in self._pools.default():
                self._segments.release(pool)
        for pool in self._pools.abandoned(owner):
            self.num_syncs += pool.is_small and owner is not None
            self._segments.release(pool)

    def _grow(self, free_blocks: FreeBlocks, size_bytes: int) -> Block | None:
        if self.allowed_bytes is not None:
            if self._driver.reserved_bytes + self._settings.segment_size(size_bytes) > self.allowed_bytes:
                return None
        return self._segments.obtain(free_blocks, size_bytes)

    def _release_oversize(self, free_blocks: FreeBlocks, size_bytes: int) -> bool:
        """Give back one block that `max_split_size_mb` keeps whole, or the largest until they make up the size."""
        limit_bytes = self._settings.max_split_bytes
        if limit_bytes == UNLIMITED or self._settings.expandable_segments:
            return False
        wanted_bytes = max(size_bytes, limit_bytes)
        best_fit = next(free_blocks.at_least(wanted_bytes), None)
        released_bytes = 0
        for block in [best_fit] if best_fit is not None else reversed([*free_blocks.at_least(limit_bytes)]):
            released_bytes += block.size_bytes
            self._driver.free_segment(block)
            if released_bytes >= wanted_bytes:
                return True
        return False

    def _collect_garbage(self) -> None:
        """Free what has been idle for long once more than the threshold is reserved; needs a memory fraction."""
        threshold = self._settings.garbage_collection_threshold
        if threshold and self.allowed_bytes is not None:
            excess_bytes = self._driver.reserved_bytes - int(threshold * self.allowed_bytes)
            for block in _stale_blocks(self._pools.default_large, excess_bytes):
                self._driver.free_segment(block)

    def _shortage(self, size_bytes: int) -> AllocatorOutOfMemory:
        return AllocatorOutOfMemory(
            device=self._driver.device,
            size_bytes=size_bytes,
            segment_bytes=self._settings.segment_size(size_bytes),
            free_bytes=self._driver.free_bytes,
            allocated_bytes=self._pools.everything.allocated_bytes,
            reserved_bytes=self._driver.reserved_bytes,
            private_bytes=self._pools.cached_private_bytes(),
            capacity_bytes=self._driver.capacity_bytes,
            total_bytes=self._driver.total_bytes,
            allowed_bytes=self.allowed_bytes,
        )


def _stale_blocks(pool: Pool, excess_bytes: int) -> Iterator[Block]:
    """Blocks that fill their segments and have been idle at least as long as the average.

    A round over the pool is always finished: PyTorch frees too much rather than collect often.
    """
    idle = {block: _idle(block) for block in pool.free_blocks() if not block.is_split}
    while idle and excess_bytes > 0:
        average = sum(idle.values()) / len(idle)
        for block in [block for block, searches in idle.items() if searches >= average]:
            del idle[block]
            excess_bytes -= block.size_bytes
            yield block


def _idle(block: Block) -> int:
    free_blocks = block.segment.free_blocks
    assert isinstance(free_blocks, AgedFreeBlocks), "pools are aged where the threshold is set"
    return free_blocks.idle(block)
