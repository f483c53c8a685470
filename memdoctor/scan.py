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
from memdoctor.rules import ALL_RULES, Rule, find_rule
from memdoctor.scanning.files import files_of
from memdoctor.scanning.ignore_patterns import Pattern, patterns_of
from memdoctor.scanning.one_file import scan_file
from memdoctor.scanning.settings import Configuration, Settings

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
    questions = _Questions(tuple(select), tuple(ignore), min_confidence, patterns_of(exclude, os.getcwd()))
    found = dict.fromkeys(files_of([os.fspath(path) for path in paths], questions.excluded_in))
    reports = [Report(skipped=(item,)) for item in found if isinstance(item, Skipped)]
    with _collector_paused() as tidy:
        for path in found:
            if isinstance(path, str):
                reports.append(_scan_one(path, questions))
                tidy()
    return _joined([*reports, Report(skipped=tuple(questions.configuration.skipped))])


def _scan_one(path: str, questions: _Questions) -> Report:
    rules, least = questions.for_file(path)
    report = scan_file(path, rules)
    sure = tuple(finding for finding in report.findings if finding.confidence.rank <= least.rank)
    return Report(sure, len(report.findings) - len(sure), report.skipped)


def _joined(reports: Sequence[Report]) -> Report:
    findings = sorted((finding for report in reports for finding in report.findings), key=_place)
    skipped = tuple(item for report in reports for item in report.skipped)
    return Report(tuple(findings), sum(report.hidden for report in reports), skipped)


class _Questions:
    """What is asked about each file: the arguments of `scan` before the settings of its folder."""

    def __init__(
        self, select: tuple[str, ...], ignore: tuple[str, ...], least: Confidence | None, excluded: Sequence[Pattern],
    ) -> None:
        self.configuration = Configuration()
        self._select, self._ignore, self._least, self._excluded = select, ignore, least, excluded
        self._rules: dict[Settings, list[Rule]] = {}
        _chosen(select, ignore)  # a misspelt code is said also when there is no file

    def excluded_in(self, folder: str) -> Sequence[Pattern]:
        """What is left out in an absolute folder; patterns of both are of use, unlike codes."""
        return [*self.configuration.of_folder(folder).exclude, *self._excluded]

    def for_file(self, path: str) -> tuple[list[Rule], Confidence]:
        """The rules to ask, and how sure a finding has to be."""
        settings = self.configuration.of_folder(os.path.dirname(os.path.abspath(path)))
        if settings not in self._rules:
            self._rules[settings] = _chosen(self._select or settings.select, self._ignore or settings.ignore)
        return self._rules[settings], self._least or settings.min_confidence or Confidence.MEDIUM


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
