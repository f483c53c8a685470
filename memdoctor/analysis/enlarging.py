"""A tensor that is replaced by a larger one at each iteration, as by `bank = torch.cat([bank, new])`.

No storage survives, so that the test for survivors misses it entirely. Batches that grow (sorted by length, a
curriculum) are told apart by their variable, which each iteration writes anew, or by their rate. Few cases are known:
the confidence is low unless the rate is constant over many looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memdoctor.analysis.put_line import Source, starts_anew
from memdoctor.foundation.looks import Look, OwnerPath, Piece, Survivor

_FEWEST_LOOKS = 3
_LARGEST_RATIO = 1.3
"""Between the rates of two stretches."""


@dataclass(frozen=True)
class Enlarging:
    """A variable whose tensor grows."""

    path: OwnerPath
    look: Look
    bytes_per_tick: int
    first: Look
    """The first look that saw it."""


def enlarging(looks: Sequence[Look], source: Source) -> tuple[Enlarging, ...]:
    """Variables whose tensor had grown at each of at least three looks, up to the last one.

    Those that the source assigns anew each time, as a batch, hold nothing of what they held before.
    """
    found: list[Enlarging] = []
    for unit in dict.fromkeys(look.unit for look in looks):
        of_unit = [look for look in looks if look.unit == unit and not look.evaluates]
        for path, _ in _candidates(of_unit[-1]) if of_unit else ():
            found.extend(_enlarging(path, of_unit))
    return tuple(each for each in found if not starts_anew(each.path.pieces, each.look.files, source))


def _candidates(look: Look) -> Iterator[tuple[OwnerPath, Survivor]]:
    """The largest young storages that a lasting variable holds under a fixed name."""
    for path in look.paths:
        is_named = path.carried and not any(piece.kind == "index" or piece.text == "*" for piece in path.pieces)
        for survivor in look.newest:
            if is_named and not path.through_graph and survivor.birth in path.storages:
                yield path, survivor


def _enlarging(path: OwnerPath, looks: Sequence[Look]) -> Iterator[Enlarging]:
    seen = [(look, size) for look in looks if (size := _size_at(path.pieces, look)) is not None]
    rates = [
        (later_size - size) / (later.tick - look.tick)
        for (look, size), (later, later_size) in zip(seen, seen[1:])
        if later.tick > look.tick
    ]
    if len(seen) >= _FEWEST_LOOKS and min(rates) > 0 and max(rates) <= _LARGEST_RATIO * min(rates):
        (first, first_size), (last, last_size) = seen[0], seen[-1]
        yield Enlarging(path, last, round((last_size - first_size) / (last.tick - first.tick)), first)


def _size_at(pieces: tuple[Piece, ...], look: Look) -> int | None:
    return next((survivor.block_bytes for path, survivor in _candidates(look) if path.pieces == pieces), None)
