"""Reads Python files and notebooks and reports what wastes or keeps GPU memory; nothing is imported or run.

Which files are read is said in `scanning/files.py`. A file that does not contain the word `torch` is not parsed, so
that thousands of files take seconds.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from memdoctor.foundation.findings import Confidence, Finding, Report, Skipped
from memdoctor.scanning.one_file import scan_file
from memdoctor.scanning.questions import Questions

_FILES_BETWEEN_COLLECTIONS = 50


def scan(
    paths: Sequence[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    min_confidence: Confidence | None = None,
    exclude: Iterable[str] = (),
) -> Report:
    """Scan files, folders, globs, and standard input for `-`.

    `select` and `ignore` take codes or names of rules, `exclude` patterns as in a `.gitignore` of the working
    directory; findings that are less sure than `min_confidence` are counted as hidden. What is not given is as the
    settings nearest to each file say, else all rules, and medium. Raises `BadInput` for a path that does not exist
    and for settings that say nothing sensible, `UnknownRule`.
    """
    questions = Questions(tuple(select), tuple(ignore), min_confidence, tuple(exclude))
    reports = []
    with _collector_paused() as tidy:
        for item in list(questions.files_in(paths)):
            reports.append(Report(skipped=(item,)) if isinstance(item, Skipped) else _scan_one(item, questions))
            tidy()
    return _joined([*reports, Report(skipped=questions.skipped)])


def _scan_one(path: str, questions: Questions) -> Report:
    rules, least = questions.about(path)
    report = scan_file(path, rules)
    sure = tuple(finding for finding in report.findings if finding.confidence.rank <= least.rank)
    return Report(sure, len(report.findings) - len(sure), report.skipped)


def _joined(reports: Sequence[Report]) -> Report:
    findings = sorted((finding for report in reports for finding in report.findings), key=_place)
    skipped = tuple(item for report in reports for item in report.skipped)
    return Report(tuple(findings), sum(report.hidden for report in reports), skipped)


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
