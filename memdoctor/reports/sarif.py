"""A scan as SARIF 2.1.0, which GitHub code scanning and editors read.

The fingerprint of a result is made of its line's text, not of its number, so that a finding stays the same one when
lines above it come and go. Columns count characters, and their ends are exclusive, as everywhere in memdoctor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from memdoctor import __version__
from memdoctor.foundation.findings import (
    Advice,
    Applicability,
    Edit,
    Finding,
    Location,
    Report,
    RuleText,
    Severity,
    Skipped,
)
from memdoctor.foundation.fingerprints import fingerprints

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def scan_sarif(report: Report, rules: Sequence[RuleText]) -> str:
    """One run, with a newline at the end; `rules` are described whether they found something or not."""
    index = {rule.code: number for number, rule in enumerate(rules)}
    named = zip(report.findings, fingerprints(report.findings), strict=True)
    run = {
        "tool": {"driver": {"name": "memdoctor", "version": __version__, "rules": [_rule(rule) for rule in rules]}},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": True, "toolExecutionNotifications": [_skipped(item) for item in report.skipped]}
        ],
        "results": [_result(finding, fingerprint, index) for finding, fingerprint in named],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _rule(rule: RuleText) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.documentation.partition("\n\nBad::")[0]},
        "help": {"text": rule.documentation},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(finding: Finding, fingerprint: str, index: dict[str, int]) -> dict[str, Any]:
    advice = f" {finding.advice.text}" if finding.advice else ""
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message}{advice}"},
        "partialFingerprints": {"memdoctorLine/v1": fingerprint},
        "properties": {"confidence": finding.confidence.value},
    }
    if finding.code in index:
        result["ruleIndex"] = index[finding.code]
    if finding.location is not None:
        result["locations"] = [_location(finding.location, finding.excerpt)]
        result |= _fixes(finding.location, finding.advice)
    return result


def _location(location: Location, excerpt: str) -> dict[str, Any]:
    """In a notebook the region is one of the cell, whose number SARIF has no field for."""
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(location.path)}}
    if location.cell is not None:
        return place | {"message": {"text": f"Cell {location.cell}, line {location.line}"}}
    region: dict[str, Any] = {"startLine": location.line, "startColumn": location.column}
    if location.end_line is not None:
        region["endLine"] = location.end_line
    if location.end_line is not None and location.end_column is not None:
        region["endColumn"] = location.end_column
    if excerpt:
        place["physicalLocation"]["contextRegion"] = {"startLine": location.line, "snippet": {"text": excerpt}}
    place["physicalLocation"]["region"] = region
    return place


def _artifact(path: str) -> dict[str, str]:
    """Relative paths are relative to where the scan ran, which for code scanning is the root of the repository."""
    if os.path.isabs(path):
        return {"uri": PurePath(path).as_uri()}
    return {"uri": quote(PurePath(path).as_posix()), "uriBaseId": "%SRCROOT%"}


def _fixes(location: Location, advice: Advice | None) -> dict[str, Any]:
    """Viewers offer a fix to apply at once, so that only safe ones are handed out."""
    if advice is None or not advice.edits or advice.applicability is not Applicability.SAFE or location.cell:
        return {}
    change = {
        "artifactLocation": _artifact(location.path),
        "replacements": [_replacement(edit) for edit in advice.edits],
    }
    return {"fixes": [{"description": {"text": advice.text}, "artifactChanges": [change]}]}


def _replacement(edit: Edit) -> dict[str, Any]:
    region = {
        "startLine": edit.line, "startColumn": edit.column, "endLine": edit.end_line, "endColumn": edit.end_column,
    }
    return {"deletedRegion": region, "insertedContent": {"text": edit.text}}


def _skipped(item: Skipped) -> dict[str, Any]:
    place = {"physicalLocation": {"artifactLocation": _artifact(item.what)}}
    return {"level": "note", "message": {"text": f"skipped: {item.why}"}, "locations": [place]}
