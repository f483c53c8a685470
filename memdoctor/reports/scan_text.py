"""A scan for the terminal: one finding after another, what was skipped, and a last line that counts."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Finding, Report


def scan_text(report: Report) -> str:
    """The report as lines of text, with a newline at the end."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield from _finding(finding)
        yield ""
    for item in report.skipped:
        yield f"skipped {item.what}: {item.why}"
    yield _counts(report)


def _finding(finding: Finding) -> Iterator[str]:
    where = f"{finding.location}:{finding.location.column}: " if finding.location else ""
    yield f"{where}{finding.code} {finding.name} ({finding.severity.value}, {finding.confidence.value} confidence)"
    yield f"    {finding.message}"
    if finding.advice is not None:
        yield f"    -> {finding.advice.text}"


def _counts(report: Report) -> str:
    counts = [_count(len(report.findings), "finding") if report.findings else "No findings"]
    if report.hidden:
        counts.append(f"{report.hidden} hidden as too unsure (--min-confidence low shows them)")
    if report.skipped:
        counts.append(f"{_count(len(report.skipped), 'file')} skipped")
    return ", ".join(counts) + "."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
