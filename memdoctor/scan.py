"""Reads Python files and reports what wastes or keeps GPU memory; nothing is imported or run.

Which files are read is said in `scanning/files.py`. A file that does not contain the word `torch` is not parsed, so
that thousands of files take seconds.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from memdoctor.foundation.findings import Confidence, Finding, Report, Skipped
from memdoctor.rules import ALL_RULES, Rule, find_rule
from memdoctor.scanning.files import files_of
from memdoctor.scanning.one_file import scan_file

_FILES_BETWEEN_COLLECTIONS = 50


def scan(
    paths: Sequence[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    min_confidence: Confidence = Confidence.MEDIUM,
    exclude: Iterable[str] = (),
) -> Report:
    """Scan files, folders, globs, and standard input for `-`.

    `select` and `ignore` take codes or names of rules; an empty `select` is all rules. Findings that are less sure than
    `min_confidence` are counted as hidden. `exclude` are patterns as in a `.gitignore` of the working directory.
    Raises `BadInput` for a path that does not exist, `UnknownRule`.
    """
    rules = _chosen(select, ignore)
    skipped: list[Skipped] = []
    findings: list[Finding] = []
    with _collector_paused() as tidy:
        for path in files_of([os.fspath(path) for path in paths], list(exclude), skipped):
            found = scan_file(path, rules)
            findings += found.findings
            skipped += found.skipped
            tidy()
    shown = [finding for finding in findings if finding.confidence.rank <= min_confidence.rank]
    return Report(tuple(sorted(shown, key=_place)), len(findings) - len(shown), tuple(skipped))


def _chosen(select: Iterable[str], ignore: Iterable[str]) -> list[Rule]:
    wanted = [find_rule(text) for text in select] or ALL_RULES
    ignored = [find_rule(text) for text in ignore]
    return [rule for rule in ALL_RULES if rule in wanted and rule not in ignored]


def _place(finding: Finding) -> tuple[str, int, int, int, str]:
    where = finding.location
    return (where.path, where.cell or 0, where.line, where.column, finding.code) if where else ("", 0, 0, 0, "")


@contextlib.contextmanager
def _collector_paused() -> Iterator[Callable[[], None]]:
    """Parsing makes only live objects; walking them again and again would cost the collector more than the parsing.

    What is yielded is called after each file, and collects now and then: without it thousands of trees would stay.
    """
    was_on = gc.isenabled()
    gc.disable()
    seen = 0

    def tidy() -> None:
        nonlocal seen
        seen += 1
        if seen % _FILES_BETWEEN_COLLECTIONS == 0:
            gc.collect()

    try:
        yield tidy
    finally:
        if was_on:
            gc.enable()
