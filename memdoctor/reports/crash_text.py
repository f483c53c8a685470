"""The end of a run that ran out of memory: why, where the bytes were at that moment, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.breakdown import Crash
from memdoctor.foundation.readings import ProcessReading, Timeline
from memdoctor.foundation.runs import RunReport
from memdoctor.foundation.units import format_bytes
from memdoctor.reports.breakdown_text import tables
from memdoctor.reports.ledger_text import ledger_line

_LAST = 5
"""Iterations before the end that are shown."""


def crash_lines(report: RunReport) -> Iterator[tuple[str, str]]:
    """Margins and texts that may be longer than a line; nothing for a run that ended otherwise."""
    if report.crash is not None:
        yield from _moment(report.crash)
    if report.crash is not None and report.crash.breakdown is not None:
        yield "", ""
        for row in tables(report.crash.breakdown):
            yield row[:len(row) - len(row.lstrip())], row.lstrip()
    if report.cause is not None and report.cause.advice:
        yield "", ""
        yield "", "What to do, largest effect first:" if len(report.cause.advice) > 1 else "What to do:"
        yield from ((f"  {number}. ", text) for number, text in enumerate(report.cause.advice, 1))
    if report.cause is not None and report.timeline.readings:
        yield "", ""
        yield "", _before(report.timeline)


def _moment(crash: Crash) -> Iterator[tuple[str, str]]:
    """The card, who else is on it, and the shapes that the program was computing with."""
    rows = [("Card: ", f"{ledger_line(crash.ledger)}.")] if crash.ledger is not None else []
    if crash.processes:
        rows.append(("Other processes: ", ", ".join(map(_process, crash.processes))))
    if crash.tensors:
        shapes = (f"{each.name} {each.dtype} {list(each.shape)} in {each.function}" for each in crash.tensors)
        rows.append(("Tensors at hand: ", ", ".join(shapes)))
    if rows:
        yield "", ""
    yield from rows


def _process(process: ProcessReading) -> str:
    size = "an unknown size" if process.used_bytes is None else format_bytes(process.used_bytes)
    return f"{process.pid} {process.name}".rstrip() + f" ({size})"


def _before(timeline: Timeline) -> str:
    last = timeline.readings[-_LAST:]
    each = [format_bytes(reading.allocated_bytes) for reading in last]
    sizes = f"{each[0]} each" if len(each) > 1 and len(set(each)) == 1 else ", ".join(each)
    steps = f"iterations {last[0].step} to {last[-1].step}" if len(last) > 1 else f"iteration {last[0].step}"
    return f"Left after {steps}: {sizes}. The peak until then was {format_bytes(last[-1].peak_bytes)}."
