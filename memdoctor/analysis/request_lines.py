"""Requests to the allocator at one batch size, from those that were recorded at two others.

Requests have the form of `virtual/allocator_requests.py`. A step that does the same at both sizes asks in the same
order, and almost every tensor grows along a line with the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def same_order(some: Sequence[int], others: Sequence[int]) -> bool:
    """Whether both allocate, free and empty at the same places; only how much they allocate may differ."""
    return len(some) == len(others) and all(
        one == other or (one > 0 and other > 0) for one, other in zip(some, others)
    )


def at_size(size: int, smaller: tuple[int, Sequence[int]], larger: tuple[int, Sequence[int]]) -> list[int]:
    """The requests at `size` by the lines through those of two recordings (size, requests) in the same order."""
    span = larger[0] - smaller[0]
    distance = size - smaller[0]
    return [
        one if one == other else max(1, one + round((other - one) * distance / span))
        for one, other in zip(smaller[1], larger[1])
    ]


def best_pair(recordings: Mapping[int, Sequence[int]]) -> tuple[int, int] | None:
    """The sizes of the two recordings to draw lines through; None where no two are in the same order.

    The larger as large as possible, because it is nearest to the answer; the smaller at most half of it where one is,
    because lines through neighbours say little.
    """
    for larger in sorted(recordings, reverse=True):
        below = [size for size in sorted(recordings) if size < larger]
        partners = [size for size in below if same_order(recordings[size], recordings[larger])]
        if partners:
            return max((size for size in partners if 2 * size <= larger), default=partners[0]), larger
    return None
