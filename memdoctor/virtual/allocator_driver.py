"""The card's memory as the CUDA driver hands it out: cudaMalloc and cudaFree, counted and noted.

The driver gives whole pages of 2 MiB and never the same address twice; everything else about it (time, fragmentation
of physical memory) does not show in PyTorch's counters.
"""

from __future__ import annotations

from memdoctor.foundation.units import MIB
from memdoctor.virtual.allocator_blocks import Block, FreeBlocks, Pool, Segment
from memdoctor.virtual.allocator_settings import AllocatorSettings

_PAGE_BYTES = 2 * MIB
_FIRST_ADDRESS = 0x7F0000000000


class Driver:
    """What one process can still get of a card, and which segments it holds."""

    def __init__(self, capacity_bytes: int, total_bytes: int, device: int) -> None:
        self.device = device
        self.capacity_bytes = capacity_bytes
        self.total_bytes = total_bytes
        self.free_bytes = capacity_bytes
        self.reserved_bytes = 0
        """What PyTorch holds; less than the driver gave where a segment is no multiple of a page."""
        self.segments: dict[Segment, None] = {}
        """In the order in which they were made; a dict because sets have none."""
        self.allocations = 0
        self.frees = 0
        self.events: list[tuple[str, int, int]] | None = None
        """Where to note (action, address, bytes) under PyTorch's names of trace entries; None: nowhere."""
        self._next_address = _FIRST_ADDRESS

    def give(self, free_blocks: FreeBlocks, nbytes: int, *, segments: int) -> bool:
        """Memory for `segments` new segments, 0 for pages of an expandable one; False when too little is left."""
        physical_bytes = -(-nbytes // _PAGE_BYTES) * _PAGE_BYTES
        if physical_bytes > self.free_bytes:
            return False
        self.free_bytes -= physical_bytes
        self.reserved_bytes += nbytes
        self.allocations += 1
        for counters in free_blocks.counters:
            counters.reserve(nbytes, segments)
        return True

    def take_back(self, free_blocks: FreeBlocks, nbytes: int, *, segments: int) -> None:
        """Undo `give`."""
        self.free_bytes += -(-nbytes // _PAGE_BYTES) * _PAGE_BYTES
        self.reserved_bytes -= nbytes
        self.frees += 1
        for counters in free_blocks.counters:
            counters.release(nbytes, segments)

    def new_segment(self, free_blocks: FreeBlocks, nbytes: int, *, page_bytes: int, is_expandable: bool) -> Segment:
        """Addresses that nothing has had before, from a multiple of `page_bytes` on."""
        address = -(-self._next_address // page_bytes) * page_bytes
        self._next_address = address + nbytes
        segment = Segment(free_blocks, address, nbytes, is_expandable=is_expandable)
        self.segments[segment] = None
        return segment

    def free_segment(self, block: Block) -> None:
        """Give back the segment that this free block fills."""
        segment = block.segment
        segment.free_blocks.drop(block)
        del self.segments[segment]
        self.take_back(segment.free_blocks, segment.size_bytes, segments=1)
        self.note("segment_free", segment.address, segment.size_bytes)

    def note(self, action: str, address: int, nbytes: int) -> None:
        """Append to `events`, if someone wants them."""
        if self.events is not None:
            self.events.append((action, address, nbytes))


class CudaMallocSegments:
    """One cudaMalloc for each segment; a segment goes back when all of it is free."""

    def __init__(self, driver: Driver, settings: AllocatorSettings) -> None:
        self._driver = driver
        self._settings = settings

    def obtain(self, free_blocks: FreeBlocks, size_bytes: int) -> Block | None:
        """A new segment that holds `size_bytes`, as one block; None when the driver has too little left."""
        nbytes = self._settings.segment_size(size_bytes)
        if not self._driver.give(free_blocks, nbytes, segments=1):
            return None
        segment = self._driver.new_segment(free_blocks, nbytes, page_bytes=_PAGE_BYTES, is_expandable=False)
        self._driver.note("segment_alloc", segment.address, nbytes)
        return segment.head

    def release(self, pool: Pool) -> None:
        """Give back every segment of the pool that is one free block."""
        for block in pool.free_blocks():
            if not block.is_split:
                self._driver.free_segment(block)
