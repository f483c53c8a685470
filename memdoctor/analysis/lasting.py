"""Which holders keep more and more: the tests that tell a leak from a buffer, a cache or optimizer state.

Thresholds were set on programs with known truth; each test stands for the ordinary programs that need it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from memdoctor.analysis.backlog import backlog_rate
from memdoctor.analysis.holders import Holder, holders, is_bounded
from memdoctor.analysis.put_line import Source, limit_of, no_source
from memdoctor.foundation.looks import UNLIMITED, Look, Piece, Survivor

_FEWEST_EVENTS = 4
_FEWEST_EVENTS_IN_EVALUATION = 8
_FEWEST_RARE_EVENTS = 6
"""Of events that are rarer than the largest gap: a model that gets a head for each of five tasks does not leak."""
_LARGEST_GAP = 4
_SHARE_ALIVE = 0.75
SHARE_OF_LARGEST = 0.02
"""What keeps less than this beside the largest is left out."""
_COUNTED_EACH = 32
"""Iterations before which a census counts at each one; see `sensing/looker.py`."""
_FEWEST_EXACT = 3
_SLOWEST_PACE = 0.5
"""Events in the second half of the time, over those in the first."""


@dataclass(frozen=True)
class Lasting:
    """A holder whose survivors lasted, at the last look of its unit."""

    holder: Holder
    look: Look
    survivors: tuple[Survivor, ...]
    """In order of birth."""
    bytes_per_tick: int
    """Blocks of all events but the last, which may not be complete, over the iterations from the first to the last."""
    is_regular: bool
    """False if the events are so rare that more of them are needed to be sure."""
    capacity: int = 0
    """Most elements that the holder may have; see `Piece.capacity`."""
    limit: str = ""
    """That number as the source says it, `self.limit`, where its value is not known."""
    is_backlog: bool = False
    """True if the old ones go, but more slowly than new ones come."""
    since_step: int = 0
    """The iteration of the oldest that any look has seen."""

    @property
    def gap(self) -> float:
        """Iterations from one event to the next, in the median."""
        return _gap(sorted({survivor.born_tick for survivor in self.survivors}))

    @property
    def elements(self) -> int:
        """How many of its elements keep survivors."""
        depth = len(self.holder.pieces)
        births = {survivor.birth for survivor in self.survivors}
        heads = [path.pieces[depth:depth + 1] for path in self.holder.paths if births.intersection(path.storages)]
        alike = any(piece.text == "*" for head in heads for piece in head)
        return len(heads) if alike else len(set(heads))

    @property
    def full_bytes(self) -> int:
        """What it will hold once it is full, if the elements to come are like those that came."""
        return self.capacity * sum(survivor.block_bytes for survivor in self.survivors) // self.elements


def lasting(
    looks: Sequence[Look], room_bytes: int | None = None, source: Source = no_source
) -> tuple[Lasting, ...]:
    """The holders that grow without end, as far as the looks can tell; the largest first.

    A holder that is seen in several units is reported in that of the optimizer. One that is bounded does not count,
    unless it will need more than the room that there is.
    """
    grown = _growing(looks, source)
    found = tuple(each for each in grown if not _will_fit(each, room_bytes))
    is_worth_a_word = found and found[0].bytes_per_tick >= SHARE_OF_LARGEST * grown[0].bytes_per_tick
    return found if is_worth_a_word else ()


def filling(
    looks: Sequence[Look], room_bytes: int | None = None, source: Source = no_source
) -> tuple[Lasting, ...]:
    """Buffers and caches that are not full yet, and will fit into the room that there is."""
    return tuple(each for each in _growing(looks, source) if _will_fit(each, room_bytes))


def _will_fit(each: Lasting, room_bytes: int | None) -> bool:
    """Not where each element drags along a graph that no backward frees, or a frame's variables: no buffer's way."""
    depth = len(each.holder.pieces)
    if any(path.through_graph or _leads_through_a_frame(path.pieces[depth:]) for path in each.holder.paths):
        return False
    return bool(each.limit) or (each.capacity > 0 and (room_bytes is None or each.full_bytes <= room_bytes))


def _leads_through_a_frame(pieces: Sequence[Piece]) -> bool:
    return any(piece.kind == "local" for piece in pieces)


def _growing(looks: Sequence[Look], source: Source) -> tuple[Lasting, ...]:
    found: dict[object, Lasting] = {}
    for unit in _units(looks):
        of_unit = [look for look in looks if look.unit == unit]
        for each in _lasting_in(of_unit) if not _is_over(of_unit[-1], looks) else ():
            found.setdefault(each.holder.pieces, each)
    ordered = sorted(found.values(), key=lambda each: -each.bytes_per_tick)
    return tuple(_bounded(each, source) for each in ordered)


def _bounded(each: Lasting, source: Source) -> Lasting:
    """With the limit that the source sets, unless it has not held, or its variable has no number in it."""
    if each.capacity > 0 or not each.holder.is_container:
        return each
    limit = limit_of(each.holder.pieces, each.look.files, source)
    if limit is None or 0 < limit.elements < each.elements or (each.capacity == UNLIMITED and not limit.elements):
        return each
    return replace(each, capacity=limit.elements, limit="" if limit.elements else limit.text)


def survivor_events(look: Look) -> set[int]:
    """Iterations whose storages outlived them, whoever holds them."""
    return {survivor.born_tick for survivor in look.survivors}


def _is_over(last: Look, looks: Sequence[Look]) -> bool:
    """A pass before the training, whose features it uses; or an evaluation that ended in the first half of the run.

    What the one gathered the training needs; what the other did may have been let go long ago.
    """
    training = [look.step for look in looks if look.unit != last.unit and not look.evaluates]
    if training and last.step < min(training):
        return True
    return last.evaluates and last.step < max(look.step for look in looks) / 2


def _units(looks: Sequence[Look]) -> list[str]:
    """Units of training before that of evaluation."""
    return list(dict.fromkeys(look.unit for look in sorted(looks, key=lambda look: look.evaluates)))


def _lasting_in(looks: Sequence[Look]) -> Iterator[Lasting]:
    last = looks[-1]
    for holder in holders(last):
        survivors = tuple(survivor for survivor in last.survivors if survivor.birth in holder.births)
        events = sorted({survivor.born_tick for survivor in survivors})
        if not (_goes_on(events, last) and _goes_on_evenly(survivors, last)) or _is_bounded(holder):
            continue
        held = [holder.held_at(look) for look in looks]
        stays = _stays(holder, looks)
        if stays:
            rate: int | None = _rate(survivors, events) if last.exact_births else _rate_by_census(survivors, events)
        else:
            rate = backlog_rate([(look.tick, each) for look, each in zip(looks, held)])
        if rate is not None:
            since = min(survivor.born_step for each in (held if not stays else held[-1:]) for survivor in each)
            yield Lasting(
                holder, last, survivors, rate, _gap(events) <= _LARGEST_GAP, _capacity(holder, looks),
                is_backlog=not stays, since_step=since,
            )


def _capacity(holder: Holder, looks: Sequence[Look]) -> int:
    """What all looks agree on: a list with a hole has no fixed number of slots if it is longer the next time."""
    depth = len(holder.pieces)
    seen = (path.pieces[depth - 1] for look in looks for path in look.paths if holder.is_on(path.pieces))
    capacities = {piece.capacity for piece in seen}
    return capacities.pop() if holder.is_container and len(capacities) == 1 else 0


def _goes_on(events: Sequence[int], look: Look) -> bool:
    """Enough events, and none is overdue: not a late validation, a grown layer, or a cache at its plateau."""
    enough = _FEWEST_EVENTS_IN_EVALUATION if look.evaluates else _FEWEST_EVENTS
    if len(events) < enough or events[-1] < look.tick - 2 - 2 * _gap(events):
        return False
    return len(events) >= _FEWEST_RARE_EVENTS or _gap(events) <= _LARGEST_GAP


def _goes_on_evenly(survivors: Sequence[Survivor], look: Look) -> bool:
    """A census counts ever more rarely, and meets at once what several iterations kept: each of them may count too."""
    dates = [survivor.born_tick for survivor in survivors]
    return _keeps_pace(sorted(set(dates))) or (not look.exact_births and _keeps_pace(dates))


def _keeps_pace(dates: Sequence[int]) -> bool:
    """Not a cache that fills: its first half brings most of the keys, the second the few that were still missing."""
    middle = (min(dates) + max(dates)) / 2
    early = sum(date < middle for date in dates)
    return len(dates) - early >= _SLOWEST_PACE * early


def _gap(events: Sequence[int]) -> float:
    return statistics.median(later - earlier for earlier, later in zip(events, events[1:]))


def _is_bounded(holder: Holder) -> bool:
    return is_bounded(holder.pieces) and not any(path.through_graph for path in holder.paths)


def _stays(holder: Holder, looks: Sequence[Look]) -> bool:
    """Not a ring buffer, or a list that is emptied: most of what it held earlier is alive, the oldest too."""
    gone = {birth for look in looks for birth in look.died}
    earlier = [each for look in looks[:-1] for each in holder.held_at(look)]
    if not earlier:
        return True
    oldest = min(survivor.born_tick for survivor in earlier)
    births = {survivor.birth for survivor in earlier}
    oldest_is_alive = any(each.birth not in gone for each in earlier if each.born_tick == oldest)
    return oldest_is_alive and len(births - gone) >= _SHARE_ALIVE * len(births)


def _rate(survivors: Sequence[Survivor], events: Sequence[int]) -> int:
    kept = sum(survivor.block_bytes for survivor in survivors if survivor.born_tick < events[-1])
    return round(kept / (events[-1] - events[0]))


def _rate_by_census(survivors: Sequence[Survivor], events: Sequence[int]) -> int:
    """The slope of what had been met by each event: dates are late by up to the time between two counts.

    When that was born which was met first of all, a census does not know.
    """
    dates = events[1:-1] if len(events) > _FEWEST_EVENTS else events[1:]
    met = [sum(survivor.block_bytes for survivor in survivors if survivor.born_tick <= date) for date in dates]
    return round(statistics.linear_regression(_in_whole_periods(dates), met).slope)


def _in_whole_periods(dates: Sequence[int]) -> list[int]:
    """What comes every third iteration is met up to two iterations late once counts have become rarer than that."""
    exact = [date for date in dates if date < _COUNTED_EACH]
    periods = {later - earlier for earlier, later in zip(exact, exact[1:])}
    if len(exact) < _FEWEST_EXACT or len(periods) > 1:
        return list(dates)
    (period,) = periods
    return [date - (date - exact[0]) % period for date in dates]
