"""What a program asks of the allocator, written down once and asked again of another card without the program.

Requests are ints in their order: a positive one allocates that many bytes, a negative one `-1 - index` frees the
allocation of that index, counted from 0, and 0 empties the cache.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from memdoctor.virtual.allocator import Block, CachingAllocator

LONGEST = 500_000
"""Replayed in half a second; a forecast replays some sixteen times."""


class RecordingAllocator(CachingAllocator):
    """Writes down every request that a card must serve.

    Gives up where the ints cannot say it: other streams, private pools, a limit, too many.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.requests: list[int] | None = []
        """None where it gave up."""
        self._index_of: dict[Block, int] = {}
        self._allocations = 0

    def malloc(self, nbytes: int, stream: int = 0, is_optional: bool = False) -> Block:
        block = super().malloc(nbytes, stream, is_optional)
        if stream:
            self.requests = None
        if nbytes and not is_optional:
            self._index_of[block] = self._allocations
            self._allocations += 1
            self._note(nbytes)
        return block

    def free(self, block: Block) -> None:
        super().free(block)
        index = self._index_of.pop(block, None)
        if index is not None:
            self._note(-1 - index)

    def empty_cache(self, owner: Hashable | None = None) -> None:
        super().empty_cache(owner)
        self._note(0)

    def record_stream(self, block: Block, stream: int) -> None:
        super().record_stream(block, stream)
        self.requests = None

    def limit_to(self, fraction: float) -> None:
        super().limit_to(fraction)
        self.requests = None

    def open_pool(self, owner: Hashable) -> None:
        super().open_pool(owner)
        self.requests = None

    def _note(self, request: int) -> None:
        if self.requests is not None:
            self.requests.append(request)
            if len(self.requests) > LONGEST:
                self.requests = None


def replay(requests: Iterable[int], room_bytes: int) -> CachingAllocator:
    """An allocator of a card with `room_bytes` for PyTorch, after the requests; raises `AllocatorOutOfMemory`."""
    allocator = CachingAllocator(room_bytes)
    blocks: list[Block] = []
    for request in requests:
        if request > 0:
            blocks.append(allocator.malloc(request))
        elif request < 0:
            allocator.free(blocks[-1 - request])
        else:
            allocator.empty_cache()
    return allocator
