"""What is asked about each file: which rules, how sure a finding has to be, what is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Confidence, Skipped
from memdoctor.rules import ALL_RULES, Rule, find_rule
from memdoctor.scanning.files import files_of
from memdoctor.scanning.ignore_patterns import Pattern, patterns_of
from memdoctor.scanning.settings import Configuration, Settings


@dataclass(frozen=True)
class Questions:
    """The arguments of a scan go before the settings of a file's folder, those before the defaults."""

    select: tuple[str, ...] = ()
    """Codes or names; empty is all rules."""
    ignore: tuple[str, ...] = ()
    min_confidence: Confidence | None = None
    exclude: tuple[str, ...] = ()
    """Patterns as in a `.gitignore` of the working directory."""
    _configuration: Configuration = field(default_factory=Configuration)
    _rules: dict[Settings, list[Rule]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `UnknownRule` for a misspelt code, `BadInput` if no rule is left, also where there will be no file."""
        if not _chosen(self.select, self.ignore):
            raise BadInput("Every rule that is selected is also ignored.", "Name a rule in only one of the two.")

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Settings that could not be read so far."""
        return tuple(self._configuration.skipped)

    def files_in(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[str | Skipped]:
        """Each file once, and folders that cannot be listed. Raises `BadInput` for a path that does not exist."""
        excluded = patterns_of(self.exclude, os.getcwd())

        def excluded_in(folder: str) -> Sequence[Pattern]:
            return [*self._configuration.of_folder(folder).exclude, *excluded]

        yield from dict.fromkeys(files_of([os.fspath(path) for path in paths], excluded_in))

    def about(self, path: str) -> tuple[list[Rule], Confidence]:
        """The rules to ask, and the least confidence."""
        settings = self._configuration.of_folder(os.path.dirname(os.path.abspath(path)))
        if settings not in self._rules:
            self._rules[settings] = _chosen(self.select or settings.select, self.ignore or settings.ignore)
        return self._rules[settings], self.min_confidence or settings.min_confidence or Confidence.MEDIUM


def _chosen(select: Iterable[str], ignore: Iterable[str]) -> list[Rule]:
    wanted = [find_rule(text) for text in select] or ALL_RULES
    ignored = [find_rule(text) for text in ignore]
    return [rule for rule in ALL_RULES if rule in wanted and rule not in ignored]
