"""The report of a run for a person: it begins with the answer, the rest is why."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from memdoctor.foundation.findings import Finding, Severity
from memdoctor.foundation.looks import Growth, Rise
from memdoctor.foundation.readings import DeviceReading, Retainer, Timeline
from memdoctor.foundation.runs import FINISHED, RAISED, RunEnd, RunReport
from memdoctor.foundation.units import format_bytes
from memdoctor.reports.breakdown_text import summary, tables
from memdoctor.reports.crash_text import crash_lines
from memdoctor.reports.host_text import host_line
from memdoctor.reports.ledger_text import ledger_line
from memdoctor.reports.phases_text import phase_lines

_WIDTH = 110
_WORTHY_SHARE = 0.02
"""Of the peak."""
_MOST_RISES = 6
_MOST_LINES = 3
_NEVER = 10_000_000
"""Iterations that no run has: when a card would be full after that is no news."""
_NO_ITERATION = "Steps of an optimizer make them, else calls of a model or backward; or track(loader), prof.step()."


def run_text(report: RunReport) -> str:
    """Plain text without a trailing newline."""
    return "\n".join(_lines(report))


def _lines(report: RunReport) -> Iterator[str]:
    yield from _wrapped(_headline(report), "")
    for finding in (*report.findings, *report.remarks):
        yield ""
        yield from _finding(finding)
    for margin, text in crash_lines(report):
        yield from _wrapped(text, margin) or [""]
    yield from _chosen(report)
    yield ""
    yield from _summary(report)


def _headline(report: RunReport) -> str:
    """Variable, line and bytes where there is a holder; else the verdict in its own words."""
    growth = report.growth
    if report.cause is not None:
        return f"memdoctor: out of memory, {report.cause.kind}. {report.cause.explanation}"
    fatal = next((each for each in report.remarks if each.severity is Severity.ERROR), None)
    if fatal is not None and report.end.outcome == RAISED:
        what = f"{fatal.code} {fatal.name}"
        return f"memdoctor: the program has ended by {what}, at {fatal.location or 'an unknown line'}."
    if not report.timeline.readings:
        return f"memdoctor: {_before_any_iteration(report.end)}{_but_full(report.end)}"
    if not report.findings:
        return f"memdoctor: {growth.explanation}{_but_full(report.end)}{_but_see(report.remarks)}"
    worst, others = report.findings[0], len(report.findings) - 1
    more = f" ({others} more below; this is the sum of all.)" if others else ""
    answer = f"memdoctor: {growth.verdict}: {worst.variable} at {worst.location or 'an unknown line'}."
    return f"{answer} {growth.explanation}{_full(growth)}{more}"


def _before_any_iteration(end: RunEnd) -> str:
    if end.outcome == RAISED:
        return f"the program ended before its first iteration, by {end.message}"
    return f"no iteration was seen. {_NO_ITERATION}"


def _but_see(remarks: Sequence[Finding]) -> str:
    """Where nothing leaks, the first thing that is worth a change all the same."""
    worthy = next((each for each in remarks if each.severity is not Severity.INFO), None)
    if worthy is None:
        return ""
    return f" But see {worthy.code}, {worthy.name}{f', at {worthy.location}' if worthy.location else ''}."


def _chosen(report: RunReport) -> Iterator[str]:
    if report.iteration_breakdown is None:
        return
    yield ""
    for row in tables(report.iteration_breakdown.breakdown, f" after iteration {report.iteration_breakdown.step:,}"):
        yield from _wrapped(row.lstrip(), row[:len(row) - len(row.lstrip())])


def _full(growth: Growth) -> str:
    if growth.full_at_step is None or growth.full_at_step > _NEVER:
        return ""
    return f" This card is full at iteration {growth.full_at_step:,}."


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.code}  {finding.name}  {finding.location or 'line unknown'}"
    yield from _wrapped(finding.message, "  ")
    if finding.excerpt:
        yield f"      {finding.excerpt.strip()}"
    if finding.retainer is not None:
        yield from _retainer(finding.retainer)
    if finding.advice is not None:
        yield from _wrapped(f"Fix: {finding.advice.text}", "  ")


def _retainer(retainer: Retainer) -> Iterator[str]:
    if retainer.path:
        yield f"  It is reached from {retainer.path}."
    if retainer.also_held_by:
        yield f"  Also held by {', '.join(retainer.also_held_by)}: removing one of them frees nothing."


def _summary(report: RunReport) -> Iterator[str]:
    yield f"  device      {_device(report.header.device)}"
    yield f"  peak        {_peak(report)}"
    if report.end.card_peaks:
        peaks = (f"cuda:{at} {format_bytes(nbytes)}" for at, nbytes in enumerate(report.end.card_peaks))
        yield from _wrapped(f"{', '.join(peaks)}; each at its own moment", " " * 14)
    if report.peak_breakdown is not None and report.crash is None:
        for line in summary(report.peak_breakdown):
            yield from _wrapped(line, " " * 14)
    if report.end.precision:
        yield from _wrapped(report.end.precision, "  precision   ")
    if report.ledger is not None and report.crash is None:
        yield from _wrapped(ledger_line(report.ledger), "  card        ")
    for number, line in enumerate(phase_lines(report.phases)):
        yield from _wrapped(line, " " * 14 if number else "  phases      ")
    if report.host and max(reading.processes for reading in report.host) > 1:
        yield from _wrapped(host_line(report.host, report.loaders), "  host        ")
    for rise in _worthy(report):
        yield f"  expected    +{format_bytes(rise.gained_bytes)} at iteration {rise.step}: {rise.cause}"
    yield f"  iterations  {_iterations(report.timeline)}"
    if report.end.survived_refusals:
        yield from _wrapped(_survived(report.end), "  survived    ")
    if report.end.outcome != FINISHED:
        said = "" if report.cause is not None else report.end.message  # the headline says it better
        yield from _wrapped(f"{report.end.outcome}  {said}".rstrip(), "  ended       ")
    for skipped in report.skipped:
        yield from _wrapped(f"{skipped.what}: {skipped.why}", "  skipped     ")


def _iterations(timeline: Timeline) -> str:
    """With how many there were of each phase, unless readings of a long run are left out."""
    phases = Counter(reading.phase for reading in timeline.readings)
    if len(phases) < 2 or phases.total() < timeline.iterations:
        return f"{timeline.iterations}"
    return f"{timeline.iterations} ({', '.join(f'{phase} {count}' for phase, count in phases.items())})"


def _but_full(end: RunEnd) -> str:
    """A program that goes on without the batches that did not fit is no calm one."""
    said = _survived(end) if end.survived_refusals else ""
    return f" {said[0].upper()}{said[1:]}." if said else ""


def _survived(end: RunEnd) -> str:
    times = "once" if end.survived_refusals == 1 else f"{end.survived_refusals:,} times"
    where = f", at {', '.join(map(str, end.survived_at[:_MOST_LINES]))}" if end.survived_at else ""
    return f"{times} the card was full{where}, and the program went on"


def _worthy(report: RunReport) -> Sequence[Rise]:
    """The largest rises, in the order of iterations; small ones say nothing."""
    least_bytes = _WORTHY_SHARE * report.peak_allocated_bytes
    rises = [rise for rise in report.growth.expected if rise.gained_bytes >= least_bytes]
    largest = sorted(rises, key=lambda rise: -rise.gained_bytes)[:_MOST_RISES]
    return sorted(largest, key=lambda rise: rise.step)


def _peak(report: RunReport) -> str:
    """PyTorch counts nothing on the host, where the process as a whole is all that is known."""
    if report.header.device.total_bytes:
        reserved = format_bytes(report.peak_reserved_bytes)
        return f"{format_bytes(report.peak_allocated_bytes)} allocated, {reserved} reserved"
    resident = [reading.host_bytes for reading in report.timeline.readings]
    return f"{format_bytes(max(resident))} resident, the whole process" if resident else "unknown"


def _device(device: DeviceReading) -> str:
    size = format_bytes(device.total_bytes)
    is_said = not device.total_bytes or size in device.name
    return f"{device.name}{'' if is_said else f', {size}'} ({device.source})"


def _wrapped(text: str, margin: str) -> list[str]:
    """The margin stands before the first line; the others are indented by its width."""
    blank = " " * len(margin)
    wrapped = [part for line in text.splitlines() for part in textwrap.wrap(line, _WIDTH - len(margin))]
    return [(blank if number else margin) + line for number, line in enumerate(wrapped)]
