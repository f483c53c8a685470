"""A file of findings that are known, so that a scan reports only what is new.

It holds fingerprints, which stay when the lines around a finding change; the rest of each entry is for people who
review the file. Paths count from the working directory: scan from the same folder.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Finding, Report
from memdoctor.foundation.fingerprints import fingerprints

_VERSION = 1
_NEXT_STEP = "Write it with: memdoctor scan --baseline FILE --write-baseline PATH"


def write_baseline(report: Report, path: str | os.PathLike[str]) -> None:
    """All findings of the report become known. Raises `BadInput` for a file that cannot be written."""
    entries = map(_entry, report.findings, fingerprints(report.findings))
    text = json.dumps({"version": _VERSION, "findings": list(entries)}, indent=1) + "\n"
    try:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}.", "Name another file with --baseline.") from error


def only_new(report: Report, path: str | os.PathLike[str]) -> Report:
    """The report without what the baseline holds, which is counted. Raises `BadInput` for one that cannot be read."""
    known = _read(path)
    named = zip(report.findings, fingerprints(report.findings), strict=True)
    new = tuple(finding for finding, fingerprint in named if fingerprint not in known)
    return dataclasses.replace(report, findings=new, known=len(report.findings) - len(new))


def _entry(finding: Finding, fingerprint: str) -> dict[str, Any]:
    place = str(finding.location) if finding.location else ""
    return {"fingerprint": fingerprint, "code": finding.code, "location": place, "message": finding.message}


def _read(path: str | os.PathLike[str]) -> set[str]:
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        if data["version"] != _VERSION:
            raise BadInput(f"{path} is a baseline of version {data['version']}, not {_VERSION}.", _NEXT_STEP)
        return {str(entry["fingerprint"]) for entry in data["findings"]}
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", _NEXT_STEP) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not a baseline of memdoctor.", _NEXT_STEP) from error
