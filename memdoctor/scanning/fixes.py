"""Applies the edits that findings advise to one file, and proves them before anything is written.

All that was not edited stays byte for byte: encoding, byte order mark, line ends. A fix counts only if the new text
parses, the finding is gone, and nothing new is found that would be shown; otherwise it is not made.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from memdoctor.foundation.findings import Applicability, Confidence, Edit, Finding, Report
from memdoctor.rules import Rule
from memdoctor.scanning.edits import edited, overlap
from memdoctor.scanning.files import NOTEBOOK_SUFFIX
from memdoctor.scanning.one_file import scan_bytes
from memdoctor.scanning.reading import Unreadable, encoding_of, read

_MOST_PASSES = 20
"""A fix can make room for the next one, where two want to change the same place."""


@dataclass(frozen=True)
class Fix:
    """A file with its findings repaired."""

    path: str
    before: bytes
    after: bytes
    findings: int
    """How many are gone by it."""


def fix_of(
    path: str, before: bytes, rules: Sequence[Rule], least: Confidence, allowed: Collection[Applicability],
) -> Fix | None:
    """What would be written to the file that holds `before`; None if there is nothing to fix. Raises `Unreadable`."""
    def scanned(data: bytes) -> Report:
        return _sure(scan_bytes(path, data, rules), least)

    after = before
    fixed = 0
    for _ in range(_MOST_PASSES):
        report = scanned(after)
        wanted = [finding for finding in report.findings if _is_fixable(finding, allowed)]
        step = next(_steps(path, after, report, wanted, scanned), None)
        if step is None:
            break
        after, number = step
        fixed += number
    return Fix(path, before, after, fixed) if fixed else None


def write(fix: Fix) -> None:
    """Replace the file at once, with its mode bits; through a link, what it points to.

    Raises `Unreadable` if it has changed since it was read, or cannot be written.
    """
    if read(fix.path) != fix.before:
        raise Unreadable("changed while it was scanned; left alone")
    target = os.path.realpath(fix.path)
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".memdoctor-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(fix.after)
            shutil.copymode(target, temporary)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Unreadable(f"not fixed: {error.strerror or error}") from error


def diff_of(fix: Fix) -> str:
    """A unified diff that `patch -p0` takes."""
    encoding = encoding_of(fix.before)
    before, after = (data.decode(encoding).splitlines(keepends=True) for data in (fix.before, fix.after))
    lines = list(difflib.unified_diff(before, after, fix.path, fix.path))
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _sure(report: Report, least: Confidence) -> Report:
    """What is hidden from the user is neither fixed nor in the way of a fix, which may leave a lesser finding."""
    return Report(tuple(finding for finding in report.findings if finding.confidence.rank <= least.rank),
                  skipped=report.skipped)


def _is_fixable(finding: Finding, allowed: Collection[Applicability]) -> bool:
    return finding.advice is not None and bool(finding.advice.edits) and finding.advice.applicability in allowed


def _steps(
    path: str, data: bytes, before: Report, wanted: Sequence[Finding], scanned: Callable[[bytes], Report],
) -> Iterator[tuple[bytes, int]]:
    """New contents that hold what they promise, with the number of findings fixed: all together, else one by one."""
    for group in [_compatible(wanted), *([finding] for finding in wanted)]:
        after = _edited(path, data, group) if group else data
        if after != data and _holds(scanned(after), before, group):
            yield after, len(group)


def _holds(after: Report, before: Report, fixed: Sequence[Finding]) -> bool:
    expected = Counter(finding.code for finding in before.findings)
    expected.subtract(finding.code for finding in fixed)
    left = Counter(finding.code for finding in after.findings)
    return after.skipped == before.skipped and all(number <= expected[code] for code, number in left.items())


def _edited(path: str, data: bytes, findings: Iterable[Finding]) -> bytes:
    places = [place for finding in findings for place in _places(finding)]
    if not path.endswith(NOTEBOOK_SUFFIX):
        return edited(data, [edit for _, edit in places])
    from memdoctor.scanning.notebook_edits import edited_notebook  # json is loaded only where there is a notebook

    return edited_notebook(data, {cell: [edit for other, edit in places if other == cell] for cell, _ in places})


def _compatible(findings: Iterable[Finding]) -> list[Finding]:
    """Those whose edits are in places of their own; equal edits are one."""
    chosen: list[Finding] = []
    taken: list[tuple[int, Edit]] = []
    for finding in findings:
        new = [place for place in _places(finding) if place not in taken]
        if not any(cell == other_cell and overlap(edit, other) for cell, edit in new for other_cell, other in taken):
            taken += new
            chosen.append(finding)
    return chosen


def _places(finding: Finding) -> list[tuple[int, Edit]]:
    """The edits with the number of the cell that each is in; 0 for a file without cells."""
    cell = finding.location.cell or 0 if finding.location else 0
    return [(cell, edit) for edit in finding.advice.edits] if finding.advice else []
