"""The cards that fit a batch size for a person, the smallest one that does first of all."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.batch_sizes import CardFit, WhichCards
from memdoctor.foundation.units import format_bytes


def which_cards_text(answer: WhichCards) -> str:
    """Plain text without a trailing newline."""
    return "\n".join(_lines(answer))


def card_line(card: CardFit) -> str:
    """One card as its trial ends: `t4 fits: peak 1.2 GiB, 0.3 s`."""
    peak = card.trial.peak_bytes
    fits = "is too small" if peak is None else f"fits: peak {format_bytes(peak)}"
    return f"{card.card} {fits}, {card.trial.seconds:.1f} s"


def _lines(answer: WhichCards) -> Iterator[str]:
    smallest = next((each for each in answer.cards if each.trial.fits), None)
    what = f"{answer.what} {answer.batch_size}"
    yield f"No card of the catalogue fits {what}." if smallest is None else (
        f"The smallest card that fits {what} is {smallest.card} ({format_bytes(smallest.total_bytes)}).")
    yield ""
    yield f"{'card':<12}  {'memory':>10}  fits        peak"
    for each in answer.cards:
        peak = "full" if each.trial.peak_bytes is None else format_bytes(each.trial.peak_bytes)
        fits = "yes" if each.trial.fits else "no"
        yield f"{each.card:<12}  {format_bytes(each.total_bytes):>10}  {fits:>4}  {peak:>10}"
