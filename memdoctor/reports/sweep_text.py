"""A sweep for a person: a row for each batch size, a column for each card, the peak of a step in each cell."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.sweeps import Sweep, SweepPoint
from memdoctor.foundation.units import format_bytes

_NARROWEST = 10


def sweep_text(result: Sweep) -> str:
    """Plain text without a trailing newline."""
    return "\n".join(_lines(result))


def _lines(result: Sweep) -> Iterator[str]:
    cards = list(dict.fromkeys(point.card for point in result.points))
    cells = {point.key: point for point in result.points}
    widths = {card: max(len(card), _NARROWEST) for card in cards}
    yield f"{result.program}: the peak of its steps, by batch size and card."
    yield ""
    yield "batch size" + "".join(f"  {card:>{widths[card]}}" for card in cards)
    for size in sorted({point.batch_size for point in result.points}):
        yield f"{size:>10}" + "".join(f"  {_cell(cells[size, card]):>{widths[card]}}" for card in cards)
    yield ""
    yield from (_best(card, result) for card in cards)
    yield from _not_looked_at(result)


def _cell(point: SweepPoint) -> str:
    return "full" if point.peak_bytes is None else format_bytes(point.peak_bytes)


def _best(card: str, result: Sweep) -> str:
    fitting = [point for point in result.points if point.card == card and point.fits]
    if not fitting:
        return f"{card}: none of these sizes fits."
    best = max(fitting, key=lambda point: point.batch_size)
    return f"{card}: batch size {best.batch_size} fits and leaves {format_bytes(best.margin_bytes or 0)}."


def _not_looked_at(result: Sweep) -> Iterator[str]:
    """The same remark of many points is made once."""
    remarks = dict.fromkeys(skipped for point in result.points for skipped in point.skipped)
    yield from (f"not looked at: {skipped.what}: {skipped.why}" for skipped in remarks)
