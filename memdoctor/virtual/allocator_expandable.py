"""Expandable segments: address space for the whole card per stream and pool, with memory mapped page by page.

Blocks of such a segment may have no memory behind them; those are kept apart in `FreeBlocks.unmapped`. Pages are 2 MiB
in the small and `large_segment_size_mb` in the large pool. Freed blocks merge, but mapped with mapped and unmapped
with unmapped only.
"""

from __future__ import annotations

from bisect import insort

from memdoctor.virtual.allocator_blocks import Block, FreeBlocks, Pool
from memdoctor.virtual.allocator_driver import Driver
from memdoctor.virtual.allocator_settings import SMALL_SEGMENT_BYTES, AllocatorSettings


class ExpandableSegments:
    """Grows and shrinks the segment of a stream by pages."""

    def __init__(self, driver: Driver, settings: AllocatorSettings) -> None:
        self._driver = driver
        self._large_page_bytes = settings.large_segment_bytes

    def obtain(self, free_blocks: FreeBlocks, size_bytes: int) -> Block | None:
        """A block of at least `size_bytes` at the lowest address where enough free and unmapped blocks meet.

        None when the driver has too little left; what had been mapped until then stays, as free blocks.
        """
        block = self._lowest_run(free_blocks, size_bytes)
        if not block.is_mapped and not self._map(block, min(block.size_bytes, size_bytes)):
            return None
        while block.size_bytes < size_bytes:
            following = block.next
            assert following is not None, "the run was checked to be long enough"
            if not self._map(following, min(size_bytes - block.size_bytes, following.size_bytes)):
                return None
            block = following  # it has absorbed the block before it
        free_blocks.drop(block)
        block.is_free = False
        return block

    def release(self, pool: Pool) -> None:
        """Unmap every page of the pool that lies in free blocks as a whole."""
        for block in pool.free_blocks():
            self._unmap(block)

    def _lowest_run(self, free_blocks: FreeBlocks, size_bytes: int) -> Block:
        for block in free_blocks.unmapped:
            start = block.previous if block.previous is not None and block.previous.is_free else block
            if _room_from(start, size_bytes):
                return start
        return self._new_address_space(free_blocks)

    def _new_address_space(self, free_blocks: FreeBlocks) -> Block:
        page_bytes = self._page_bytes(free_blocks.pool)
        # An eighth more than the card has, so that pages can move behind a hole (as PyTorch reserves it).
        size_bytes = -(-self._driver.total_bytes * 9 // 8 // page_bytes) * page_bytes
        block = self._driver.new_segment(free_blocks, size_bytes, page_bytes=page_bytes, is_expandable=True).head
        block.is_mapped = False
        free_blocks.unmapped.append(block)
        return block

    def _map(self, block: Block, size_bytes: int) -> bool:
        """Put pages behind the first `size_bytes` of an unmapped block; it joins its free neighbours."""
        free_blocks = block.segment.free_blocks
        page_bytes = self._page_bytes(free_blocks.pool)
        mapped_bytes = -(-size_bytes // page_bytes) * page_bytes
        if not self._driver.give(free_blocks, mapped_bytes, segments=0):
            return False
        self._driver.note("segment_map", block.address, mapped_bytes)
        free_blocks.unmapped.remove(block)
        block.is_mapped = True
        if mapped_bytes < block.size_bytes:
            rest = Block(block.segment, block.address + mapped_bytes, block.size_bytes - mapped_bytes)
            rest.insert_between(block, block.next)
            block.size_bytes = mapped_bytes
            _enter_unmapped(rest)
        for neighbour in (block.previous, block.next):
            if neighbour is not None and neighbour.is_free:
                free_blocks.drop(neighbour)
                block.absorb(neighbour)
        free_blocks.put(block)
        return True

    def _unmap(self, block: Block) -> None:
        """Take the whole pages out of a free block; what is left of it before and after stays free."""
        free_blocks = block.segment.free_blocks
        page_bytes = self._page_bytes(free_blocks.pool)
        start = -(-block.address // page_bytes) * page_bytes
        end = (block.address + block.size_bytes) // page_bytes * page_bytes
        if start >= end:
            return
        free_blocks.drop(block)
        _cut_before(block, start)
        _cut_after(block, end)
        block.is_free = False
        for neighbour in (block.previous, block.next):
            if neighbour is not None and not neighbour.is_mapped:
                free_blocks.unmapped.remove(neighbour)
                block.absorb(neighbour)
        _enter_unmapped(block)
        self._driver.take_back(free_blocks, end - start, segments=0)
        self._driver.note("segment_unmap", start, end - start)
        if not block.is_split:
            free_blocks.unmapped.remove(block)
            del self._driver.segments[block.segment]

    def _page_bytes(self, pool: Pool) -> int:
        return SMALL_SEGMENT_BYTES if pool.is_small else self._large_page_bytes


def reach_bytes(block: Block) -> int:
    """Size that a free block can grow to; the size that best fit compares."""
    following = block.next
    return block.size_bytes + (following.size_bytes if following is not None and not following.is_mapped else 0)


def _room_from(start: Block | None, size_bytes: int) -> bool:
    room_bytes = 0
    while room_bytes < size_bytes and start is not None and (start.is_free or not start.is_mapped):
        room_bytes += start.size_bytes
        start = start.next
    return room_bytes >= size_bytes


def _enter_unmapped(block: Block) -> None:
    block.is_mapped = False
    insort(block.segment.free_blocks.unmapped, block, key=lambda unmapped: unmapped.address)


def _cut_before(block: Block, start: int) -> None:
    if block.address < start:
        front = Block(block.segment, block.address, start - block.address)
        front.insert_between(block.previous, block)
        block.address, block.size_bytes = start, block.size_bytes - front.size_bytes
        block.segment.free_blocks.put(front)


def _cut_after(block: Block, end: int) -> None:
    rest_bytes = block.address + block.size_bytes - end
    if rest_bytes:
        rest = Block(block.segment, end, rest_bytes)
        rest.insert_between(block, block.next)
        block.size_bytes -= rest_bytes
        block.segment.free_blocks.put(rest)
