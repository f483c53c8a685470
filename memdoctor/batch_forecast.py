"""The largest batch size that should fit, forecast from what trials at small sizes asked of the allocator.

The requests are drawn out along lines to any size and served by an allocator of the card's size, without the program:
that knows rounding, caching and fragmentation, which peaks of allocated bytes do not. Only a trial proves it right.
"""

from __future__ import annotations

from collections.abc import Sequence

from memdoctor.analysis.request_lines import at_size, best_pair
from memdoctor.virtual.allocator_requests import fits


class Forecast:
    """Learns what each size that fitted asked for; the two that say most give the answer."""

    def __init__(self, room_bytes: int, *, multiple_of: int, max_size: int) -> None:
        self._room_bytes = room_bytes
        self._multiple_of = multiple_of
        self._last = max_size // multiple_of
        self._recordings: dict[int, Sequence[int]] = {}
        self.goal: int | None = None
        """The size to try next, which is the forecast once there is one; None where no two recordings are alike."""
        self.first: int | None = None
        """The first forecast; None before there was one."""

    def learn(self, size: int, requests: Sequence[int] | None) -> None:
        """What the trial of `size` asked of the allocator; None where it could not be recorded."""
        if requests is None:
            return
        self._recordings[size] = requests
        pair = best_pair(self._recordings)
        if pair is None:
            self.goal = 2 * size if len(self._recordings) == 1 else None
            return
        self.goal = self._largest(*pair)
        if self.first is None:
            self.first = self.goal

    def _largest(self, smaller: int, larger: int) -> int:
        fitting, failing = 0, self._last + 1
        while failing - fitting > 1:
            rung = (fitting + failing) // 2
            if self._would_fit(rung * self._multiple_of, smaller, larger):
                fitting = rung
            else:
                failing = rung
        return fitting * self._multiple_of

    def _would_fit(self, size: int, smaller: int, larger: int) -> bool:
        low, high = (smaller, self._recordings[smaller]), (larger, self._recordings[larger])
        return fits(at_size(size, low, high), self._room_bytes)
