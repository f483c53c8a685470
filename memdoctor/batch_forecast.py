"""The largest batch size that should fit, forecast from what a few sizes ask of an allocator that is never full.

The requests are drawn out along lines to any size and served by an allocator of the card's size, without the program:
that knows rounding, caching and fragmentation, which peaks of allocated bytes do not. Only a trial proves it right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memdoctor.analysis.batch_search import BatchSearch
from memdoctor.analysis.request_lines import at_size, best_pair, same_order
from memdoctor.virtual.allocator import AllocatorOutOfMemory
from memdoctor.virtual.allocator_requests import replay

FIRST_RUNG = 2
"""The first size is two multiples, because a batch of one sample may broadcast where others do not."""

_ENDLESS_BYTES = 2**60

_LEAP = 16
"""Peaks are not believed further than this many times the largest size so far: an optimizer's own may hide the batch's,
and the host has to make the batch that is recorded."""

_MOST_UNLIKE = 6
"""A program that asks for something else each time would have no end of recordings."""


@dataclass(frozen=True)
class Recording:
    """What whole training steps at one size asked of the allocator, in the form of `virtual/allocator_requests.py`."""

    requests: Sequence[int]
    warm_up: int
    """How many of the requests belong to the steps that may still rearrange the cache."""


class Forecast:
    """Asks for sizes to record, learns what they asked for, and has the answer in `goal`."""

    def __init__(self, room_bytes: int, *, multiple_of: int, max_size: int) -> None:
        self._room_bytes = room_bytes
        self._multiple_of = multiple_of
        self._last = max_size // multiple_of
        self._recordings: dict[int, Recording] = {}
        self._fits: dict[int, bool] = {}
        self._goals_that_fit: list[bool] = []
        self._search = BatchSearch(room_bytes, multiple_of=multiple_of, max_size=max_size)
        self.goal: int | None = None
        """The largest size that should fit; 0 if none should, None where no two recordings are alike."""

    def ask(self) -> int | None:
        """The size to record next; None when the goal is as good as it gets before a trial."""
        if not self._recordings:
            return min(FIRST_RUNG, self._last) * self._multiple_of
        largest = max(self._recordings)
        if len(self._recordings) == 1:
            return self._unless_known(max(self._full_of_samples(largest), 2 * largest))
        if self.goal is None or self._is_unlike_all(largest):
            return self._where_peaks_promise()
        if self.goal == self._search.largest and all(self._goals_that_fit):
            return None
        return self._search.ask(self._middle_of_bracket() or self.goal)

    def learn(self, size: int, recording: Recording) -> None:
        """What whole steps of `size` asked of the allocator."""
        self._recordings[size] = recording
        has_room = self._fits[size] = fits(recording.requests, recording.warm_up, self._room_bytes)
        if size == self.goal:
            self._goals_that_fit.append(has_room)
        self._search.tell(size, has_room, 0 if has_room else None)
        line = self._best_line()
        if line is not None:
            self.goal = self._largest(*((known, self._recordings[known]) for known in line))
        if self._search.ask(self.goal) is None:
            self.goal = self._search.largest

    def _best_line(self) -> tuple[int, int] | None:
        """The two recordings next to the answer, on either side of it; before there are such, the best there are."""
        fitting, failing = self._search.largest, self._failing()
        requests = {size: recording.requests for size, recording in self._recordings.items()}
        if fitting and failing is not None and same_order(requests[fitting], requests[failing]):
            return fitting, failing
        return best_pair(requests)

    def _middle_of_bracket(self) -> int | None:
        """Where memory grows in stairs, goals creep up from one end; two verdicts alike mean that they do."""
        failing = self._failing()
        last = self._goals_that_fit[-2:]
        if failing is None or last not in ([True, True], [False, False]):
            return None
        return (self._search.largest + failing) // 2

    def _failing(self) -> int | None:
        """The nearest size above all that fit, of those that were recorded."""
        too_large = (size for size, has_room in self._fits.items() if not has_room and size > self._search.largest)
        return min(too_large, default=None)

    def _full_of_samples(self, first: int) -> int:
        """Where the card is full if all of the first recording were its samples': fixed cost only allows more."""
        recording = self._recordings[first]
        nothing = Recording([min(request, 0) for request in recording.requests], recording.warm_up)
        return self._largest((0, nothing), (first, recording))

    def _is_unlike_all(self, size: int) -> bool:
        """Libraries take other ways for many samples than for few."""
        requests = self._recordings[size].requests
        return not any(
            same_order(recording.requests, requests) for other, recording in self._recordings.items() if other != size)

    def _where_peaks_promise(self) -> int | None:
        """Where the card is full by the line through the peaks of two sizes, which need not be alike.

        The two are those next to the answer on either side of it, or the two largest. Below the first is only the
        smallest of all.
        """
        if len(self._recordings) >= _MOST_UNLIKE:
            return None
        failing = self._failing()
        larger = max(self._recordings) if failing is None else failing
        smaller = max((size for size in self._recordings if size < larger), default=None)
        if smaller is None:
            return self._unless_known(self._multiple_of)
        peak_bytes = self._peak_bytes(smaller)
        rise_bytes = max(self._peak_bytes(larger) - peak_bytes, 1)
        promised = smaller + (self._room_bytes - peak_bytes) * (larger - smaller) // rise_bytes
        most = min(self._last * self._multiple_of, _LEAP * larger) if failing is None else failing - self._multiple_of
        rung = max(self._search.largest // self._multiple_of + 1, min(promised, most) // self._multiple_of)
        return self._unless_known(rung * self._multiple_of)

    def _peak_bytes(self, size: int) -> int:
        return replay(self._recordings[size].requests, _ENDLESS_BYTES).max_allocated_bytes

    def _unless_known(self, size: int) -> int | None:
        size = min(size, self._last * self._multiple_of)
        return None if size in self._recordings else size

    def _largest(self, smaller: tuple[int, Recording], larger: tuple[int, Recording]) -> int:
        """The largest size for which the card serves what lies on the lines through two recordings.

        Between what was recorded and is known: a fragmented card may fail at a size and serve some that are larger.
        """
        low, high = ((size, recording.requests) for size, recording in (smaller, larger))
        known_failing = self._failing()
        fitting = self._search.largest // self._multiple_of
        failing = self._last + 1 if known_failing is None else known_failing // self._multiple_of
        while failing - fitting > 1:
            rung = (fitting + failing) // 2
            if fits(at_size(rung * self._multiple_of, low, high), larger[1].warm_up, self._room_bytes):
                fitting = rung
            else:
                failing = rung
        return fitting * self._multiple_of


def fits(requests: Sequence[int], warm_up: int, room_bytes: int) -> bool:
    """Whether the card serves them all, and after the first `warm_up` without emptying its cache to do so."""
    try:
        retries = replay(requests, room_bytes).stats()["num_alloc_retries"]
    except AllocatorOutOfMemory:
        return False
    return not retries or retries == replay(requests[:warm_up], room_bytes).stats()["num_alloc_retries"]
