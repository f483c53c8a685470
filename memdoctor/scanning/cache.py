"""What scans have said before, so that a file that has not changed is not parsed again.

A report is known by the file's content and name and by the rules that were asked; the whole cache is that of one
memdoctor and one Python. It is one JSON file that is replaced at once: of two scans at the same time the last one's
stays, and neither reads half of it. A cache that is broken, or cannot be written, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from memdoctor import __version__
from memdoctor.foundation.errors import UnreadableRun
from memdoctor.foundation.findings import Report
from memdoctor.foundation.records import plain, rebuild
from memdoctor.scanning.files import STANDARD_INPUT
from memdoctor.scanning.one_file import Asked
from memdoctor.scanning.reading import Unreadable, read

FOLDER = ".memdoctor_cache"
_MOST_REPORTS = 100_000
_PACKAGE = Path(__file__).parents[1]
_EMPTY = 0
"""Stands for a report without findings, which most are."""


class Cache:
    """The reports in one folder; `save` adds what was learned."""

    def __init__(self, folder: str = FOLDER) -> None:
        self._folder = folder
        self._version = _version()
        self._reports = self._read()
        self._learned: dict[str, Any] = {}

    def key(self, asked: Asked) -> str | None:
        """What the report of a file, as it is now, is known by; None if it cannot be read, or not a second time."""
        if asked.path == STANDARD_INPUT:
            return None
        try:
            data = read(asked.path)
        except Unreadable:
            return None
        codes = ",".join(rule.code for rule in asked.rules)
        identity = f"{asked.path}\0{codes}\0{asked.is_named}\0"
        digest = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16)
        digest.update(data)
        return digest.hexdigest()

    def known(self, key: str | None) -> Report | None:
        """The report; None if there is none, or it is broken."""
        entry = self._reports.get(key) if key is not None else None
        try:
            return None if entry is None else Report() if entry == _EMPTY else rebuild(Report, entry)
        except UnreadableRun:
            return None

    def learn(self, key: str | None, report: Report) -> None:
        """Remember a report, unless it is about what could not be read: that may be repaired from outside."""
        if key is not None and not report.skipped:
            self._learned[key] = plain(report) if report.findings else _EMPTY

    def save(self) -> None:
        """Write all reports, or only the new ones where they would become too many."""
        kept = self._reports if len(self._reports) + len(self._learned) <= _MOST_REPORTS else {}
        if self._learned:
            try:
                self._write({"version": self._version, "reports": {**kept, **self._learned}})
            except OSError:
                return

    def _write(self, data: dict[str, Any]) -> None:
        os.makedirs(self._folder, exist_ok=True)
        Path(self._folder, ".gitignore").write_text("*\n", encoding="utf-8")
        handle, temporary = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(data, stream)
        os.replace(temporary, self._path)

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self._path.read_bytes())
            reports = data["reports"] if data["version"] == self._version else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return reports if isinstance(reports, dict) else {}

    @property
    def _path(self) -> Path:
        return Path(self._folder, "scan.json")


def _version() -> str:
    """Of memdoctor, of its files (in a checkout they change without a version), and of Python."""
    digest = hashlib.blake2b(f"{__version__}\0{sys.version}".encode(), digest_size=16)
    for folder in ("rules", "scanning", "foundation"):
        for entry in sorted(os.scandir(_PACKAGE / folder), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                status = entry.stat()
                digest.update(f"{entry.name}\0{status.st_mtime_ns}\0{status.st_size}\0".encode())
    return digest.hexdigest()
