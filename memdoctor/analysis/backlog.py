"""A queue whose consumer is slower than what fills it: the old ones go, and still there are more each time.

Told apart from a ring buffer, a window and a list that is emptied: those stop growing, or begin again.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from memdoctor.foundation.looks import Survivor

_FEWEST_LOOKS = 5
_FEWEST_ELEMENTS = 4
_TICKS_APART = 3
_LEAST_GROWTH = 2
"""The last amount, in terms of the first."""
_LARGEST_DEVIATION = 0.2
_SHARE_OF_RATE = 0.6
"""What the last stretch must still grow by, in terms of all of them: a window that is full grows no more."""

_Held = Sequence[tuple[int, Sequence[Survivor]]]


def backlog_rate(held: _Held) -> int | None:
    """Bytes that each tick adds, from what was held at the tick of each look; None if it is no growing backlog."""
    held = _apart([(tick, survivors) for tick, survivors in held if len(survivors) >= _FEWEST_ELEMENTS])
    if len(held) < _FEWEST_LOOKS or not _moves_on(held):
        return None
    ticks = [tick for tick, _ in held]
    counts = [len(survivors) for _, survivors in held]
    slope, start = statistics.linear_regression(ticks, counts)
    is_even = all(
        abs(count - start - slope * tick) <= max(2, _LARGEST_DEVIATION * count) for tick, count in zip(ticks, counts)
    )
    still_grows = counts[-1] - counts[-2] >= _SHARE_OF_RATE * slope * (ticks[-1] - ticks[-2]) > 0
    if not (is_even and still_grows) or counts[-1] < _LEAST_GROWTH * counts[0]:
        return None
    amounts = [sum(survivor.block_bytes for survivor in survivors) for _, survivors in held]
    return round(statistics.linear_regression(ticks, amounts).slope)


def _apart(held: _Held) -> _Held:
    """Without looks that follow another closely, between which little can happen."""
    kept: list[tuple[int, Sequence[Survivor]]] = []
    for tick, survivors in held:
        if not kept or tick - kept[-1][0] >= _TICKS_APART:
            kept.append((tick, survivors))
    return kept


def _moves_on(held: _Held) -> bool:
    """The oldest go all along, in the first half of the looks too, and never all at once."""
    births = [[survivor.birth for survivor in survivors] for _, survivors in held]
    oldest = [min(each) for each in births]
    middle = len(oldest) // 2
    overlap = all(set(earlier).intersection(later) for earlier, later in zip(births, births[1:]))
    return overlap and oldest == sorted(oldest) and oldest[0] < oldest[middle] < oldest[-1]
