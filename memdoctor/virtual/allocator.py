"""PyTorch's CUDA caching allocator without CUDA: the same blocks at the same offsets, the same counters, the same OOM.

Built after `c10/cuda/CUDACachingAllocator.cpp` and checked operation by operation against recordings of the real one
(torch 2.12.1). Addresses are made up. Kernels take no time: the events that `record_stream` leaves behind have
completed by the next allocation. One thread at a time; callers lock.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from memdoctor.virtual.allocator_blocks import Block, FreeBlocks, Segment
from memdoctor.virtual.allocator_driver import Driver
from memdoctor.virtual.allocator_expandable import reach_bytes
from memdoctor.virtual.allocator_pools import Pools
from memdoctor.virtual.allocator_settings import SMALL_BYTES, UNLIMITED, parse_settings
from memdoctor.virtual.allocator_shortage import AllocatorOutOfMemory
from memdoctor.virtual.allocator_snapshot import snapshot
from memdoctor.virtual.allocator_supply import Supply

__all__ = ["AllocatorOutOfMemory", "Block", "CachingAllocator"]


class CachingAllocator:
    """The allocator of one card, with the settings of a PYTORCH_ALLOC_CONF."""

    def __init__(
        self,
        capacity_bytes: int,
        *,
        conf: str = "",
        fraction: float | None = None,
        total_bytes: int | None = None,
        device: int = 0,
    ) -> None:
        """`capacity_bytes`: what the driver can give, the context already taken off; `total_bytes`: the whole card.

        `fraction` limits the process to that part of the whole card, as `torch.cuda.set_per_process_memory_fraction`
        does. `device` is the number of the card in messages and snapshots.
        Raises `BadInput` for a `conf` that PyTorch would refuse.
        """
        self._settings = settings = parse_settings(conf)
        self._driver = Driver(capacity_bytes, capacity_bytes if total_bytes is None else total_bytes, device)
        self._pools = Pools(settings)
        fraction = settings.memory_fraction if fraction is None else fraction
        self._supply = Supply(self._driver, settings, self._pools)
        self.limit_to(fraction)
        self._used_by: dict[Block, set[int]] = {}
        self._waiting: dict[Block, None] = {}

        self._rounds_to_blocks = not any(settings.roundup_divisions)
        self._any_fit_is_good = not (
            settings.expandable_segments or settings.garbage_collection_threshold
            or settings.max_split_bytes < UNLIMITED)
        self._max_split_bytes = UNLIMITED if settings.expandable_segments else settings.max_split_bytes

    def malloc(self, nbytes: int, stream: int = 0, is_optional: bool = False) -> Block:
        """Take a block of at least `nbytes`; 0 bytes give a block of 0 bytes, which is counted nowhere.

        An optional block is taken only where no cached memory has to be given back for it, and its refusal is counted
        nowhere. Raises `AllocatorOutOfMemory`. Long, because every tensor of a program passes here: what settings,
        streams, private pools and a full card add is behind one test each, and each call more costs 5 to 10 % of the
        speed.
        """
        if self._waiting and not self._pools.is_private_open:
            self._free_waiting()
        if not nbytes:
            return self._empty_block(stream)
        size_bytes = (nbytes + 511) & -512 if self._rounds_to_blocks else self._settings.round_size(nbytes)
        pools = self._pools
        free_blocks = (pools.small if size_bytes <= SMALL_BYTES else pools.large)[stream]
        block = free_blocks.take(size_bytes) if self._any_fit_is_good else self._choose(free_blocks, size_bytes)
        if block is None:
            block = self._supply.obtain(free_blocks, size_bytes, is_optional)

        was_split = block.previous is not None or block.next is not None
        rest_bytes = block.size_bytes - size_bytes
        if rest_bytes >= free_blocks.least_rest_bytes and size_bytes < self._max_split_bytes:
            rest = block
            block = rest.split_off(size_bytes)
            free_blocks.put(rest)
            splits = 0 if was_split else 1
            split_bytes = -size_bytes if was_split else rest_bytes
        else:
            size_bytes += rest_bytes
            splits = -1 if was_split else 0
            split_bytes = -size_bytes if was_split else 0
        block.requested_bytes = nbytes
        for counters in free_blocks.counters:
            counters.took(size_bytes, nbytes, splits, split_bytes)
        if self._waiting:
            self._pools.note_active()
        return block

    def free(self, block: Block) -> None:
        """Return a block and merge it with its free neighbours; nothing goes back to the driver."""
        if block.is_free:
            return self._refuse(block)
        if self._used_by and block in self._used_by:
            return self._defer(block)
        free_blocks = block.segment.free_blocks
        size_bytes = block.size_bytes
        splits = 0
        for neighbour in (block.previous, block.next):
            if neighbour is not None and neighbour.is_free:
                free_blocks.drop(neighbour)
                block.absorb(neighbour)
                splits -= 1
        free_blocks.put(block)
        if block.previous is not None or block.next is not None:
            splits += 1
            split_bytes = size_bytes
        else:
            split_bytes = size_bytes - block.size_bytes
        for counters in free_blocks.counters:
            counters.gave_back(size_bytes, block.requested_bytes, splits, split_bytes)

    def record_stream(self, block: Block, stream: int) -> None:
        """Keep the block, once it is freed, until the work that another stream has for it is done."""
        if stream != block.segment.free_blocks.stream:
            self._used_by.setdefault(block, set()).add(stream)

    def empty_cache(self, owner: Hashable | None = None) -> None:
        """Give memory in which no block is in use back to the driver; with `owner`, only that of this private pool."""
        if owner is not None:
            self._free_waiting(owner)
        elif not self._pools.is_private_open:
            self._free_waiting()
        self._supply.release_cached(owner)

    def hold_pool(self, owner: Hashable) -> None:
        """Make the private pool of a CUDA graph or a `torch.cuda.MemPool`, or count one more user of it."""
        self._pools.hold(owner)

    def open_pool(self, owner: Hashable) -> None:
        """Serve every allocation from the private pool until `close_pool`."""
        self._pools.open(owner)

    def close_pool(self, owner: Hashable) -> None:
        """Serve from the default pools again; the private pool keeps its memory."""
        self._pools.close(owner)

    def release_pool(self, owner: Hashable) -> None:
        """Count one user out; `empty_cache` gives back the memory of a pool that has none."""
        self._pools.release(owner)

    @property
    def allocated_bytes(self) -> int:
        """Bytes of all blocks in use; by hand: `torch.cuda.memory_allocated()`."""
        return self._pools.everything.allocated_bytes

    @property
    def requested_bytes(self) -> int:
        """What was asked for of that, without the rounding to blocks."""
        return self._pools.everything.requested_bytes

    @property
    def max_allocated_bytes(self) -> int:
        """Peak of it since the start or `reset_peak`; by hand: `torch.cuda.max_memory_allocated()`."""
        return self._pools.everything.max_allocated_bytes

    @property
    def reserved_bytes(self) -> int:
        """Bytes obtained from the driver; by hand: `torch.cuda.memory_reserved()`."""
        return self._pools.everything.reserved_bytes

    @property
    def max_reserved_bytes(self) -> int:
        """Peak of it since the start or `reset_peak`; by hand: `torch.cuda.max_memory_reserved()`."""
        return self._pools.everything.max_reserved_bytes

    @property
    def free_bytes(self) -> int:
        """What the driver still has; by hand: the first number of `torch.cuda.mem_get_info()`."""
        return self._driver.free_bytes

    def limit_to(self, fraction: float) -> None:
        """Let the process have that part of the whole card, also where it holds more already."""
        self._supply.allowed_bytes = int(fraction * self._driver.total_bytes) if fraction < 1 else None

    def reset_peak(self) -> None:
        """As `torch.cuda.reset_peak_memory_stats()`."""
        self._pools.reset_peak()

    def stats(self) -> dict[str, int]:
        """All names and numbers of `torch.cuda.memory_stats()`."""
        limit_bytes = self._settings.max_split_bytes
        return self._pools.stats() | {
            "max_split_size": -1 if limit_bytes == UNLIMITED else limit_bytes,
            "num_alloc_retries": self._supply.num_alloc_retries,
            "num_device_alloc": self._driver.allocations,
            "num_device_free": self._driver.frees,
            "num_oom_rejections": 0,
            "num_ooms": self._supply.num_ooms,
            "num_sync_all_streams": self._supply.num_syncs,
        }

    def snapshot(self) -> list[dict[str, Any]]:
        """Segments with their blocks, in the form of `torch.cuda.memory._snapshot()["segments"]`."""
        return snapshot(self._driver.segments, self._waiting, self._driver.device)

    def record_events(self) -> list[tuple[str, int, int]]:
        """A list that from now on receives (action, address, bytes) of every exchange with the driver.

        Actions are those of PyTorch's trace entries: segment_alloc, segment_free, segment_map, segment_unmap, oom.
        """
        events: list[tuple[str, int, int]] = []
        self._driver.events = events
        return events

    def _choose(self, free_blocks: FreeBlocks, size_bytes: int) -> Block | None:
        """Best fit where settings rule blocks out, let them grow, or want the search counted."""
        free_blocks.pool.searches += 1
        fitting = free_blocks.at_least(size_bytes)
        block = next(fitting, None)
        if block is None:
            return None
        if self._settings.expandable_segments:
            for larger in fitting:
                if reach_bytes(larger) >= reach_bytes(block):
                    break
                block = larger
        if self._settings.wastes_oversize(block.size_bytes, size_bytes):
            return None
        free_blocks.drop(block)
        block.is_free = False
        return block

    def _empty_block(self, stream: int) -> Block:
        """It counts as free already, so that `free` finds nothing to do."""
        block = Segment(FreeBlocks(self._pools.small, stream), 0, 0).head
        block.is_free = True
        return block

    def _refuse(self, block: Block) -> None:
        if block.size_bytes:
            raise ValueError(f"the block at {block.address:#x} was freed before")

    def _defer(self, block: Block) -> None:
        del self._used_by[block]
        self._waiting[block] = None
        for counters in block.segment.free_blocks.counters:
            counters.defer(block.size_bytes)

    def _free_waiting(self, owner: Hashable | None = None) -> None:
        """Free the blocks of a private pool, or all blocks, whose events have completed; by now they all have.

        In the order in which they were freed. PyTorch goes by stream, in the order of a hash table, which can show in
        the peak of `inactive_split_bytes` and in the ages of merged blocks.
        """
        for block in [block for block in self._waiting if owner in (None, block.segment.free_blocks.pool.owner)]:
            del self._waiting[block]
            for counters in block.segment.free_blocks.counters:
                counters.resume(block.size_bytes)
            self.free(block)
