"""A scan for the terminal: one finding after another with its line, what was skipped, and a last line that counts."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Location, Report

_WIDEST_EXCERPT = 160
_BEFORE_THE_FINDING = 40
"""Characters shown before the finding in a line that is too wide to be shown whole."""


def scan_text(report: Report) -> str:
    """The report as lines of text, with a newline at the end."""
    return "\n".join(_lines(report)) + "\n"


def counts(report: Report) -> str:
    """One line: how many findings of which severity, how many a tool can fix, what was hidden and skipped."""
    parts = [_findings(report)]
    fixable = _fixable(report)
    if fixable:
        parts.append(fixable)
    if report.known:
        parts.append(f"{report.known} known from the baseline")
    if report.hidden:
        parts.append(f"{report.hidden} hidden as too unsure (--min-confidence low shows them)")
    if report.skipped:
        parts.append(f"{_count(len(report.skipped), 'file')} skipped")
    return ", ".join(parts) + "."


def _lines(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield from _finding(finding)
        yield ""
    for item in report.skipped:
        yield f"skipped {item.what}: {item.why}"
    yield counts(report)


def _finding(finding: Finding) -> Iterator[str]:
    where = f"{finding.location}:{finding.location.column}: " if finding.location else ""
    yield f"{where}{finding.code} {finding.name} ({finding.severity.value}, {finding.confidence.value} confidence)"
    yield f"    {finding.message}"
    if finding.location is not None and finding.excerpt:
        yield from _excerpt(finding.location, finding.excerpt)
    if finding.advice is not None:
        yield f"    -> {finding.advice.text}{_option(finding.advice)}"


def _option(advice: Advice) -> str:
    if not advice.edits:
        return ""
    return " (--fix)" if advice.applicability is Applicability.SAFE else " (--unsafe-fixes)"


def _excerpt(location: Location, line: str) -> Iterator[str]:
    """The line under its number, and carets under the part that is meant; its first line where it has several."""
    ends_here = location.end_column is not None and location.end_line in (None, location.line)
    end = location.end_column - 1 if ends_here and location.end_column else len(line.rstrip())
    start = min(location.column - 1, len(line))
    cut = max(0, start - _BEFORE_THE_FINDING) if len(line) > _WIDEST_EXCERPT else 0
    shown = line[cut:cut + _WIDEST_EXCERPT].rstrip()
    carets = "^" * max(1, sum(map(_width, shown[start - cut:end - cut])))
    gutter = " " * len(str(location.line))
    yield f"    {gutter} |"
    yield f"    {location.line} | {''.join(map(_printable, shown))}"
    yield f"    {gutter} | {''.join(map(_blank, shown[:start - cut]))}{carets}"


def _printable(character: str) -> str:
    """No escape sequence of a scanned file may reach the terminal."""
    return character if character.isprintable() or character == "\t" else " "


def _blank(character: str) -> str:
    return "\t" if character == "\t" else " " * _width(character)


def _width(character: str) -> int:
    """Columns of a terminal: two for the wide characters of East Asia, none for marks that combine."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _findings(report: Report) -> str:
    if not report.findings:
        return "No new findings" if report.known else "No findings"
    found = Counter(finding.severity for finding in report.findings)
    kinds = [_severities(severity.value, found[severity]) for severity in sorted(found, key=lambda level: level.rank)]
    return f"{_count(len(report.findings), 'finding')} ({', '.join(kinds)})"


def _severities(name: str, number: int) -> str:
    return f"{number} {name}" if name == "info" else _count(number, name)


def _fixable(report: Report) -> str:
    options = Counter(_option(finding.advice).strip(" ()") for finding in report.findings if finding.advice)
    ways = [f"{options[option]} with {option}" for option in ("--fix", "--unsafe-fixes") if options[option]]
    return f"fixable: {' and '.join(ways)}" if ways else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
