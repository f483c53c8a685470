"""The cards of this machine for a person, and the catalogue of virtual ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memdoctor.foundation.gpus import GpusReport
from memdoctor.foundation.readings import DeviceReading, ProcessReading
from memdoctor.foundation.units import format_bytes


def gpus_text(report: GpusReport) -> str:
    """One line a card, its processes below it; plain text without a trailing newline."""
    return "\n".join(_lines(report))


def catalogue_text(cards: Mapping[str, DeviceReading]) -> str:
    """One line a card: the name to type, its memory, the name that PyTorch gives it."""
    width = max(map(len, cards))
    lines = (f"{name:{width}}  {format_bytes(card.total_bytes):>9}  {card.name}" for name, card in cards.items())
    return "\n".join(lines)


def _lines(report: GpusReport) -> Iterator[str]:
    if not report.cards:
        yield "No NVIDIA card can be seen here. PyTorch programs still run under `memdoctor run --virtual a100-40gb`."
    for card in report.cards:
        yield from _card(card)
    for skipped in report.skipped:
        yield f"not looked at: {skipped.what}: {skipped.why}"


def _card(card: DeviceReading) -> Iterator[str]:
    busy = "" if card.utilization_percent is None else f", {card.utilization_percent} % busy"
    yield (
        f"card {card.index}  {card.name}: {format_bytes(card.used_bytes)} of {format_bytes(card.total_bytes)} used, "
        f"{format_bytes(card.free_bytes)} free{busy}  ({card.source})"
    )
    for process in card.processes:
        yield _process(process)


def _process(process: ProcessReading) -> str:
    used = "not told" if process.used_bytes is None else format_bytes(process.used_bytes)
    return f"  pid {process.pid:>7}  {used:>9}  {process.name or '(the driver does not tell its name)'}"
