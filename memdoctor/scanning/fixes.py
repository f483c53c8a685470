"""Applies the edits that findings advise to one file, and proves them before anything is written.

All that was not edited stays byte for byte: encoding, byte order mark, line ends. A fix counts only if the new text
parses, the finding is gone, and nothing new is found; otherwise it is not made.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from memdoctor.foundation.findings import Applicability, Confidence, Edit, Finding
from memdoctor.rules import Rule
from memdoctor.scanning.one_file import scan_bytes
from memdoctor.scanning.reading import Unreadable, encoding_of, read

_MOST_PASSES = 20
"""A fix can make room for the next one, where two want to change the same place."""
_LINE_END = re.compile("\r\n|\r|\n")


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
    after = before
    fixed = 0
    for _ in range(_MOST_PASSES):
        found = scan_bytes(path, after, rules).findings
        wanted = [finding for finding in found if _is_fixable(finding, least, allowed)]
        step = next(_steps(path, after, rules, found, wanted), None)
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


def _is_fixable(finding: Finding, least: Confidence, allowed: Collection[Applicability]) -> bool:
    advice = finding.advice
    return advice is not None and bool(advice.edits) and advice.applicability in allowed and (
        finding.confidence.rank <= least.rank
    )


def _steps(
    path: str, data: bytes, rules: Sequence[Rule], found: Sequence[Finding], wanted: Sequence[Finding],
) -> Iterator[tuple[bytes, int]]:
    """New contents that hold what they promise, with the number of findings fixed: all together, else one by one."""
    for group in [_compatible(wanted), *([finding] for finding in wanted)]:
        after = edited(data, [edit for finding in group for edit in _edits(finding)]) if group else data
        if after != data and _holds(path, after, rules, found, group):
            yield after, len(group)


def _holds(path: str, after: bytes, rules: Sequence[Rule], found: Sequence[Finding], fixed: Sequence[Finding]) -> bool:
    report = scan_bytes(path, after, rules)
    expected = Counter(finding.code for finding in found)
    expected.subtract(finding.code for finding in fixed)
    left = Counter(finding.code for finding in report.findings)
    return not report.skipped and all(number <= expected[code] for code, number in left.items())


def _compatible(findings: Iterable[Finding]) -> list[Finding]:
    """Those whose edits are in places of their own; equal edits are one."""
    chosen: list[Finding] = []
    taken: list[Edit] = []
    for finding in findings:
        new = [edit for edit in _edits(finding) if edit not in taken]
        if not any(_overlap(edit, other) for edit in new for other in taken):
            taken += new
            chosen.append(finding)
    return chosen


def _overlap(one: Edit, other: Edit) -> bool:
    starts, ends = (one.line, one.column), (one.end_line, one.end_column)
    return starts <= (other.end_line, other.end_column) and (other.line, other.column) <= ends


def _edits(finding: Finding) -> tuple[Edit, ...]:
    return finding.advice.edits if finding.advice else ()


def edited(data: bytes, edits: Iterable[Edit]) -> bytes:
    """Source with the edits applied. Raises `Unreadable` for an encoding that does not survive the round trip."""
    encoding = encoding_of(data)
    text = data.decode(encoding)
    if text.encode(encoding) != data:
        raise Unreadable(f"not fixed: {encoding} text that cannot be written back as it was")
    ends = list(_LINE_END.finditer(text))
    starts = [0, *(end.end() for end in ends), len(text)]
    for edit in sorted(set(edits), key=lambda edit: (edit.line, edit.column), reverse=True):
        start, end = (_offset(starts, *place) for place in ((edit.line, edit.column), (edit.end_line, edit.end_column)))
        newline = ends[min(edit.line, len(ends)) - 1].group() if ends else "\n"
        text = text[:start] + edit.text.replace("\n", newline) + text[end:]
    return text.encode(encoding)


def _offset(starts: Sequence[int], line: int, column: int) -> int:
    """Of a line and column from 1; a line behind the last one is the end of the text."""
    return starts[min(line, len(starts)) - 1] + column - 1
