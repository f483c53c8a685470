"""A scan for the terminal: one finding after another with its line, what was skipped, and a last line that counts."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Location, Report, Severity

_Paint = Callable[[str, str], str]

_WIDEST_EXCERPT = 160
_BEFORE_THE_FINDING = 40
"""Characters shown before the finding in a line that is too wide to be shown whole."""


_SEVERITY_COLOURS = {Severity.ERROR: "1;31", Severity.WARNING: "1;33", Severity.INFO: "1;36"}
_BOLD, _QUIET = "1", "34"
"""Colours are parameters of ECMA-48's `SGR`, which every terminal knows."""


def scan_text(report: Report, *, colour: bool = False) -> str:
    """The report as lines of text, with a newline at the end; `colour` is for a terminal."""
    return "\n".join(_lines(report, _coloured if colour else _plain)) + "\n"


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


def _coloured(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def _plain(text: str, colour: str) -> str:
    return text


def _lines(report: Report, paint: _Paint) -> Iterator[str]:
    for finding in report.findings:
        yield from _finding(finding, paint)
        yield ""
    for item in report.skipped:
        yield f"skipped {item.what}: {item.why}"
    yield counts(report)


def _finding(finding: Finding, paint: _Paint) -> Iterator[str]:
    colour = _SEVERITY_COLOURS[finding.severity]
    where = f"{finding.location}:{finding.location.column}: " if finding.location else ""
    degrees = f"({finding.severity.value}, {finding.confidence.value} confidence)"
    yield f"{paint(where, _BOLD)}{paint(f'{finding.code} {finding.name}', colour)} {degrees}"
    yield f"    {finding.message}"
    if finding.location is not None and finding.excerpt:
        gutter, shown, blank, carets = _excerpt(finding.location, finding.excerpt)
        bar = paint("|", _QUIET)
        yield f"    {' ' * len(gutter)} {bar}"
        yield f"    {paint(gutter, _QUIET)} {bar} {shown}"
        yield f"    {' ' * len(gutter)} {bar} {blank}{paint(carets, colour)}"
    if finding.advice is not None:
        yield f"    {paint('->', _QUIET)} {finding.advice.text}{_option(finding.advice)}"


def _option(advice: Advice) -> str:
    if not advice.edits:
        return ""
    return " (--fix)" if advice.applicability is Applicability.SAFE else " (--unsafe-fixes)"


def _excerpt(location: Location, line: str) -> tuple[str, str, str, str]:
    """The line's number, the line, and the space and the carets under the part that is meant.

    Of a part of several lines the first is shown.
    """
    ends_here = location.end_column is not None and location.end_line in (None, location.line)
    end = location.end_column - 1 if ends_here and location.end_column else len(line.rstrip())
    start = min(location.column - 1, len(line))
    cut = max(0, start - _BEFORE_THE_FINDING) if len(line) > _WIDEST_EXCERPT else 0
    shown = line[cut:cut + _WIDEST_EXCERPT].rstrip()
    carets = "^" * max(1, sum(map(_width, shown[start - cut:end - cut])))
    blank = "".join(map(_blank, shown[:start - cut]))
    return str(location.line), "".join(map(_printable, shown)), blank, carets


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
