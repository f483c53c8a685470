"""The search for the largest batch size that fits; it only asks and is told, and runs nothing itself.

Two trials prove an answer: it fits, the next size does not. A forecast says where to look. Without one, memory grows
along a line with the batch almost always, so a few sizes that fit promise the answer; the first leap costs no
out-of-memory error: what one sample took, fixed cost included, is the most that each further one can take. Where the
card is full below what the line promised, the line is dropped and the bracket is halved.
"""

from __future__ import annotations

from memdoctor.foundation.batch_sizes import LARGEST_SIZE

_LEAP = 16
"""A line is not followed further than this many times the largest size so far: at small sizes the optimizer's own peak
hides what the batch takes, and promises a size at which even the host may run out of memory making the batch."""

_RETREAT = 16
"""A forecast that failed is left by one part in so many: likely far enough to fit, and near enough that what the trial
shows makes the next forecast exact."""


class BatchSearch:
    """Ask for a size, try it, tell how it went, until `ask` returns None; then `largest` is exact.

    Exact as long as a size that fits does so with every smaller one. Sizes are multiples of `multiple_of` from one
    multiple up to `max_size`; inside, they are counted in multiples, called rungs.
    """

    def __init__(self, room_bytes: int, *, multiple_of: int = 1, max_size: int = LARGEST_SIZE) -> None:
        self._room_bytes = room_bytes
        self._multiple_of = multiple_of
        self._last = max_size // multiple_of
        self._failed: set[int] = set()
        self._peaks: dict[int, int] = {}
        self._predicted: int | None = None
        self._stride = 1

    @property
    def largest(self) -> int:
        """The largest size that was told to fit; 0 before any did."""
        return self._fitting * self._multiple_of

    @property
    def predicted(self) -> int | None:
        """What the first line that could be believed promised; None before there was one."""
        return None if self._predicted is None else self._predicted * self._multiple_of

    def ask(self, forecast: int | None = None) -> int | None:
        """The size to try next; the same until it is told, None when nothing is open.

        `forecast` is the best guess at the answer so far, from someone who knows more than the peaks.
        """
        if self._failing == self._fitting + 1:
            return None
        rung = self._next() if forecast is None else self._toward(forecast // self._multiple_of)
        return rung * self._multiple_of

    def tell(self, size: int, fits: bool, peak_bytes: int | None) -> None:
        """How the trial of `size` went, with the peak of its steps in bytes where it fitted."""
        rung = size // self._multiple_of
        if not fits or peak_bytes is None:
            self._failed.add(rung)
            return
        if self._predicted is not None and self._predicted < rung <= self._fitting + self._stride:
            self._stride *= 2
        self._peaks[rung] = peak_bytes
        if self._predicted is None and len(self._peaks) > 1 and self._promised() <= self._believable():
            self._predicted = self._promised()

    @property
    def _fitting(self) -> int:
        return max(self._peaks, default=0)

    @property
    def _failing(self) -> int:
        """The nearest above what fits: where the card is fragmented, a size may fit although a smaller one does not."""
        return min((rung for rung in self._failed if rung > self._fitting), default=self._last + 1)

    def _toward(self, goal: int) -> int:
        """The goal itself while it is open; else away from it, in strides that grow, half way through at most."""
        if self._fitting < goal < self._failing:
            return goal
        middle = (self._fitting + self._failing) // 2
        if goal <= self._fitting:
            return min(self._fitting + max(1, self._fitting - goal), middle)
        return max(self._failing - max(1, goal // _RETREAT, goal - self._failing), middle)

    def _next(self) -> int:
        if not self._peaks:
            return 1
        if self._failing <= self._last:
            return (self._fitting + self._failing) // 2
        reach = min(self._promised(), self._believable())
        # Where memory grows in stairs each line promises only a little more; the stride keeps from climbing by ones.
        return min(max(reach, self._fitting + self._stride), self._last)

    def _promised(self) -> int:
        """The last rung that fits by the line through the largest peak and one at half its size or less."""
        small = max((rung for rung in self._peaks if 2 * rung <= self._fitting), default=0)
        return min(self._last_on_line_from(small), self._last)

    def _believable(self) -> int:
        """How far a line is followed; one from the origin to its end, because fixed cost only makes it too steep."""
        return max(_LEAP * self._fitting, self._last_on_line_from(0))

    def _last_on_line_from(self, small: int) -> int:
        rise_bytes = self._peaks[self._fitting] - self._peaks.get(small, 0)
        if rise_bytes <= 0:
            return self._last
        spare_bytes = self._room_bytes - self._peaks[self._fitting]
        return self._fitting + spare_bytes * (self._fitting - small) // rise_bytes
