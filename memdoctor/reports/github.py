"""A scan as workflow commands of GitHub Actions: each finding becomes an annotation of its line.

The form and its escapes are those of "Workflow commands for GitHub Actions" and of `@actions/core`, which escapes `%`
and line ends everywhere, and `:` and `,` in properties too.
"""

from __future__ import annotations

from memdoctor.foundation.findings import Finding, Location, Report, Severity, Skipped

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def scan_github(report: Report) -> str:
    """One command a line; empty when there is nothing to say."""
    return "".join([*map(_finding, report.findings), *map(_skipped, report.skipped)])


def _finding(finding: Finding) -> str:
    properties: dict[str, object] = {**_place(finding.location), "title": f"{finding.code} {finding.name}"}
    advice = f" {finding.advice.text}" if finding.advice else ""
    return _command(_COMMANDS[finding.severity], properties, f"{_cell(finding.location)}{finding.message}{advice}")


def _place(location: Location | None) -> dict[str, object]:
    """A notebook has no lines that GitHub could mark; columns are taken only within one line."""
    if location is None:
        return {}
    if location.cell is not None:
        return {"file": location.path}
    end_line = location.end_line or location.line
    place: dict[str, object] = {"file": location.path, "line": location.line, "endLine": end_line}
    if end_line == location.line and location.end_column is not None:
        place |= {"col": location.column, "endColumn": location.end_column}
    return place


def _cell(location: Location | None) -> str:
    return f"Cell {location.cell}, line {location.line}: " if location and location.cell is not None else ""


def _skipped(item: Skipped) -> str:
    return _command("notice", {"file": item.what, "title": "memdoctor skipped it"}, item.why)


def _command(name: str, properties: dict[str, object], message: str) -> str:
    shown = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    return f"::{name} {shown}::{_escaped(message)}\n"


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
