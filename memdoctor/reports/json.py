"""A scan as JSON that other programs may rely on; its version rises when a reader of the old form would misread it."""

from __future__ import annotations

import json
from typing import Any

from memdoctor.foundation.findings import Finding, Report
from memdoctor.foundation.records import VERSION, plain

_FINDING_KEYS = ("code", "name", "severity", "confidence", "message", "location", "excerpt", "variable", "advice")


def scan_json(report: Report) -> str:
    """`{"version", "findings", "hidden", "known", "skipped"}`, with a newline at the end."""
    data = {
        "version": VERSION,
        "findings": [_finding(finding) for finding in report.findings],
        "hidden": report.hidden,
        "known": report.known,
        "skipped": plain(report.skipped),
    }
    return json.dumps(data, indent=1) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    fields = plain(finding)
    return {key: fields[key] for key in _FINDING_KEYS}
