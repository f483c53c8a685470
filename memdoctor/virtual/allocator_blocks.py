"""Blocks, the segments that they divide, and the free blocks of a pool in the order in which PyTorch takes them.

A segment is what one cudaMalloc returned, or the address space of an expandable segment; its blocks follow each other
without a gap. A free block serves only the pool and the stream that it was first allocated for.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator

from memdoctor.virtual.allocator_counters import Counters

_AGE_BITS = 52
_AGE_MASK = (1 << _AGE_BITS) - 1


class Block:
    """A part of a segment: in use, free, or address space without memory behind it (`is_mapped` False).

    Once freed it belongs to the allocator, which may merge it away or hand it out again.
    """

    __slots__ = (
        "segment", "address", "size_bytes", "requested_bytes", "age", "is_free", "is_mapped", "previous", "next",
    )

    previous: Block | None
    next: Block | None

    def __init__(self, segment: Segment, address: int, size_bytes: int) -> None:
        free_blocks = segment.free_blocks
        age = free_blocks.next_age
        free_blocks.next_age = age + 1
        self.segment = segment
        self.address = address
        self.size_bytes = size_bytes
        self.requested_bytes = 0
        self.age = age
        self.is_free = False
        self.is_mapped = True
        self.previous = self.next = None

    @property
    def is_split(self) -> bool:
        """Whether it shares its segment with other blocks."""
        return self.previous is not None or self.next is not None

    def split_off(self, size_bytes: int) -> Block:
        """A new block of the first `size_bytes`; this one shrinks to the rest and keeps its age."""
        front = Block(self.segment, self.address, size_bytes)
        previous = front.previous = self.previous
        if previous is None:
            self.segment.head = front
        else:
            previous.next = front
        front.next = self
        self.previous = front
        self.address += size_bytes
        self.size_bytes -= size_bytes
        return front

    def insert_between(self, previous: Block | None, following: Block | None) -> None:
        """Take the place between two neighbours."""
        self.previous = previous
        self.next = following
        if previous is None:
            self.segment.head = self
        else:
            previous.next = self
        if following is not None:
            following.previous = self

    def absorb(self, neighbour: Block) -> None:
        """Grow over a neighbour, which ceases to exist; this block keeps its age."""
        self.size_bytes += neighbour.size_bytes
        if neighbour is self.previous:
            self.address = neighbour.address
            previous = self.previous = neighbour.previous
            if previous is None:
                self.segment.head = self
            else:
                previous.next = self
        else:
            following = self.next = neighbour.next
            if following is not None:
                following.previous = self


class Segment:
    """Contiguous addresses that belong to one stream of one pool."""

    __slots__ = ("free_blocks", "address", "size_bytes", "is_expandable", "head")

    def __init__(self, free_blocks: FreeBlocks, address: int, size_bytes: int, *, is_expandable: bool = False) -> None:
        self.free_blocks = free_blocks
        self.address = address
        self.size_bytes = size_bytes
        self.is_expandable = is_expandable
        self.head = Block(self, address, size_bytes)
        """The block at the lowest address."""

    def __iter__(self) -> Iterator[Block]:
        """All blocks by address."""
        block: Block | None = self.head
        while block is not None:
            yield block
            block = block.next


class FreeBlocks:
    """The free blocks of one stream in one pool, smallest first, and oldest first among equals.

    `_keys` is sorted and holds `size << 52 | age`: these lists stay short (tens of entries), and bisecting a list of
    ints runs at C speed.
    """

    __slots__ = ("pool", "stream", "counters", "least_rest_bytes", "next_age", "unmapped", "_keys", "_by_age")

    def __init__(self, pool: Pool, stream: int) -> None:
        self.pool = pool
        self.stream = stream
        self.counters = pool.counters
        self.least_rest_bytes = pool.least_rest_bytes
        self.next_age = 0
        self.unmapped: list[Block] = []
        """Blocks of expandable segments without memory behind them, by address."""
        self._keys: list[int] = []
        self._by_age: dict[int, Block] = {}

    def put(self, block: Block) -> None:
        """Enter a block that nothing uses any more."""
        age = block.age
        insort(self._keys, block.size_bytes << _AGE_BITS | age)
        self._by_age[age] = block
        block.is_free = True

    def drop(self, block: Block) -> None:
        """Remove a block that is about to be merged, mapped out or given back."""
        age = block.age
        keys = self._keys
        del keys[bisect_left(keys, block.size_bytes << _AGE_BITS | age)]
        del self._by_age[age]

    def take(self, size_bytes: int) -> Block | None:
        """Remove and return the smallest block that holds `size_bytes`."""
        keys = self._keys
        index = bisect_left(keys, size_bytes << _AGE_BITS)
        if index == len(keys):
            return None
        block = self._by_age.pop(keys.pop(index) & _AGE_MASK)
        block.is_free = False
        return block

    def at_least(self, size_bytes: int) -> Iterator[Block]:
        """Blocks that hold `size_bytes`, the best fit first; as a list before any of them is removed."""
        keys = self._keys
        for index in range(bisect_left(keys, size_bytes << _AGE_BITS), len(keys)):
            yield self._by_age[keys[index] & _AGE_MASK]


class AgedFreeBlocks(FreeBlocks):
    """Also remembers since when each block has been free, as garbage collection counts it: in searches of the pool."""

    __slots__ = ("_put_at",)

    def __init__(self, pool: Pool, stream: int) -> None:
        super().__init__(pool, stream)
        self._put_at: dict[int, int] = {}

    def put(self, block: Block) -> None:
        self._put_at[block.age] = self.pool.searches
        super().put(block)

    def drop(self, block: Block) -> None:
        super().drop(block)
        del self._put_at[block.age]

    def idle(self, block: Block) -> int:
        """Searches of the pool since the block became free."""
        return self.pool.searches - self._put_at[block.age]


class Pool(dict[int, FreeBlocks]):
    """Free blocks of the small or of the large allocations, per stream; a stream appears when it is first used."""

    def __init__(
        self,
        is_small: bool,
        counters: tuple[Counters, ...],
        least_rest_bytes: int,
        free_blocks_type: type[FreeBlocks],
        owner: Hashable,
        stream_order: dict[int, int],
    ) -> None:
        super().__init__()
        self.is_small = is_small
        self.counters = counters
        """All that counts what happens in this pool."""
        self.least_rest_bytes = least_rest_bytes
        """A block is split when at least this much is left over."""
        self.owner = owner
        """Id of the private pool that it is part of."""
        self.searches = 0
        """How often a free block was looked for; counted only where settings need it."""
        self._free_blocks_type = free_blocks_type
        self._stream_order = stream_order

    def __missing__(self, stream: int) -> FreeBlocks:
        self._stream_order.setdefault(stream, len(self._stream_order))
        self[stream] = free_blocks = self._free_blocks_type(self, stream)
        return free_blocks

    def free_blocks(self) -> list[Block]:
        """A copy of all free blocks, by stream, size and age."""
        streams = sorted(self, key=self._stream_order.__getitem__)
        return [block for stream in streams for block in self[stream].at_least(0)]
