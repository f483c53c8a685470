"""Places where memory of the host gathers: arrays of numpy, and tensors that were moved there from a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memdoctor.analysis.put_line import Source, is_emptied, limit_of
from memdoctor.foundation.looks import Look, Piece
from memdoctor.foundation.units import MIB

_FEWEST_LOOKS = 4
_LARGEST_RATIO = 2.0
"""Between the rates of two stretches: what comes every few iterations has one event more in some."""
_LEAST_BYTES = 128 * MIB
"""Results that are gathered for a metric or a file are smaller, in most programs, and the host has room for them."""

_Place = tuple[Piece, ...]


@dataclass(frozen=True)
class Hoard:
    """A variable or container whose memory of the host had grown at each look, evenly."""

    pieces: _Place
    bytes_per_tick: int
    first: Look
    look: Look


def hoards(looks: Sequence[Look], source: Source) -> tuple[Hoard, ...]:
    """The innermost places that grow, without those that have a limit; the largest first."""
    complete = [look for look in looks if look.complete and not look.evaluates]
    found: list[Hoard] = []
    for unit in dict.fromkeys(look.unit for look in complete):
        found += _of_unit([look for look in complete if look.unit == unit])
    unlimited = (each for each in found if not _is_limited(each, source))
    return tuple(sorted(unlimited, key=lambda each: -each.bytes_per_tick))


def _of_unit(looks: Sequence[Look]) -> Iterator[Hoard]:
    counts = [_bytes_by_place(look) for look in looks]
    growing = {place: hoard for place in counts[-1] if (hoard := _hoard(place, looks, counts)) is not None}
    outer = {place[:end] for place in growing for end in range(1, len(place))}
    yield from (hoard for place, hoard in growing.items() if place not in outer)


def _bytes_by_place(look: Look) -> Counter[_Place]:
    """Of each place with all that is inside; elements of a container that has many are no places."""
    amounts: Counter[_Place] = Counter()
    for path in look.paths:
        if path.carried and path.host_bytes:
            named = next((at for at, piece in enumerate(path.pieces) if piece.text == "*"), len(path.pieces))
            for end in range(1, named + 1):
                amounts[path.pieces[:end]] += path.host_bytes
    return amounts


def _hoard(place: _Place, looks: Sequence[Look], counts: Sequence[Counter[_Place]]) -> Hoard | None:
    seen = [(look, count[place]) for look, count in zip(looks, counts) if place in count]
    if len(seen) < _FEWEST_LOOKS or seen[-1][1] < _LEAST_BYTES:
        return None
    rates = [
        (amount - before) / (look.tick - earlier.tick) for (earlier, before), (look, amount) in zip(seen, seen[1:])
    ]
    if min(rates) <= 0 or max(rates) > _LARGEST_RATIO * min(rates):
        return None
    (first, first_bytes), (last, last_bytes) = seen[0], seen[-1]
    return Hoard(place, round((last_bytes - first_bytes) / (last.tick - first.tick)), first, last)


def _is_limited(each: Hoard, source: Source) -> bool:
    """By its own length, or by a statement that keeps it short or empties it from time to time."""
    paths = (path.pieces for path in each.look.paths if path.host_bytes)
    ends = (pieces[len(each.pieces) - 1] for pieces in paths if pieces[:len(each.pieces)] == each.pieces)
    return (
        any(piece.capacity > 0 for piece in ends) or limit_of(each.pieces, each.look.files, source) is not None
        or is_emptied(each.pieces, each.look.files, source))
