"""Reads Python files and notebooks and reports what wastes or keeps GPU memory; nothing is imported or run.

Which files are read is said in `scanning/files.py`. A file that does not contain the word `torch` is not parsed, so
that thousands of files take seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from memdoctor.foundation.findings import Confidence, Finding, Report, Skipped
from memdoctor.scanning.many_files import scan_files
from memdoctor.scanning.one_file import Asked
from memdoctor.scanning.questions import Questions

_WORTH_A_CACHE = 20
"""With fewer files, reading the cache costs more than it saves."""


def scan(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    min_confidence: Confidence | None = None,
    exclude: Iterable[str] = (),
    processes: int = 1,
    cached: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Scan a file, folder or glob, or several of them, or standard input for `-`.

    `select` and `ignore` take codes or names of rules, `exclude` patterns as in a `.gitignore` of the working
    directory; findings that are less sure than `min_confidence` are counted as hidden. What is not given is as the
    settings nearest to each file say, else all rules, and medium.

    Many files are shared among `processes`, which are forked: leave it at 1 in a program with threads. `cached` keeps
    what was found in `.memdoctor_cache` of the working directory. `progress` is told how many files are done, and how
    many there are. Raises `BadInput` for a path that does not exist and for settings that say nothing sensible,
    `UnknownRule`.
    """
    questions = Questions(tuple(select), tuple(ignore), min_confidence, tuple(exclude))
    given = [os.fspath(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    items = list(questions.files_in(given))
    asked = [Asked(path, questions.about(path)[0], path in given) for path in items if isinstance(path, str)]
    answer = _remembered if cached and len(asked) >= _WORTH_A_CACHE else _scanned
    reports = zip(asked, answer(asked, processes, progress or _unseen), strict=True)
    found = [_sure(report, questions.about(file.path)[1]) for file, report in reports]
    unlisted = tuple(item for item in items if isinstance(item, Skipped))
    return _joined([*found, Report(skipped=unlisted + questions.skipped)])


def _unseen(done: int, total: int) -> None:
    """Nobody watches."""


def _scanned(asked: Sequence[Asked], processes: int, progress: Callable[[int, int], None]) -> list[Report]:
    reports = []
    for report in scan_files(asked, processes):
        reports.append(report)
        progress(len(reports), len(asked))
    return reports


def _remembered(asked: Sequence[Asked], processes: int, progress: Callable[[int, int], None]) -> list[Report]:
    """Only what is not in the cache is scanned."""
    from memdoctor.scanning.cache import Cache  # few scans are large enough to need it

    cache = Cache()
    keys = [cache.key(file) for file in asked]
    known = [cache.known(key) for key in keys]
    new = [number for number, report in enumerate(known) if report is None]
    scanned = dict(zip(new, _scanned([asked[number] for number in new], processes, progress), strict=True))
    for number, report in scanned.items():
        cache.learn(keys[number], report)
    cache.save()
    return [scanned[number] if report is None else report for number, report in enumerate(known)]


def _sure(report: Report, least: Confidence) -> Report:
    sure = tuple(finding for finding in report.findings if finding.confidence.rank <= least.rank)
    return Report(sure, len(report.findings) - len(sure), report.skipped)


def _joined(reports: Sequence[Report]) -> Report:
    findings = sorted((finding for report in reports for finding in report.findings), key=_place)
    skipped = tuple(item for report in reports for item in report.skipped)
    return Report(tuple(findings), sum(report.hidden for report in reports), skipped)


def _place(finding: Finding) -> tuple[str, int, int, int, str]:
    where = finding.location
    return (where.path, where.cell or 0, where.line, where.column, finding.code) if where else ("", 0, 0, 0, "")
