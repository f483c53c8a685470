"""What a project wants of its scans: `[tool.memdoctor]` in pyproject.toml, or `[memdoctor]` in setup.cfg.

For each file the nearest folder above it counts that has such a section, up to the root of the repository; sections
are not merged. What is given on the command line or to `memdoctor.scan` replaces the setting of that name.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memdoctor.foundation.errors import BadInput, UnknownRule
from memdoctor.foundation.findings import Confidence, Skipped
from memdoctor.rules import find_rule
from memdoctor.scanning.ignore_patterns import Pattern, patterns_of

_Section = dict[str, Any]
_BEGIN_OF_SECTION = re.compile(rb"\[\s*(tool\s*\.\s*)?memdoctor\b")
"""Without the closing bracket: where it is missing, the parser has to say so."""


@dataclass(frozen=True)
class Settings:
    """One section; what it does not say is empty."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    """Relative to the folder of the section."""
    min_confidence: Confidence | None = None


class Configuration:
    """The settings of each folder, read when first asked for."""

    def __init__(self) -> None:
        self.skipped: list[Skipped] = []
        """Files that have a section which this Python cannot read."""
        self._known: dict[str, Settings] = {}

    def of_folder(self, folder: str) -> Settings:
        """Those of an absolute folder. Raises `BadInput`, `UnknownRule` for a section that says nothing sensible."""
        if folder not in self._known:
            self._known[folder] = self._read(folder)
        return self._known[folder]

    def _read(self, folder: str) -> Settings:
        for name, sections_of in (("pyproject.toml", self._toml_section), ("setup.cfg", _ini_section)):
            path = os.path.join(folder, name)
            section = sections_of(path) if _speaks_of_memdoctor(path) else None
            if section is not None:
                return _settings(path, section)
        parent = os.path.dirname(folder)
        if parent == folder or os.path.exists(os.path.join(folder, ".git")):
            return Settings()
        return self.of_folder(parent)

    def _toml_section(self, path: str) -> _Section | None:
        try:
            tomllib = importlib.import_module("tomllib")
        except ModuleNotFoundError:
            self.skipped.append(Skipped(path, "Python before 3.11 cannot read it; write [memdoctor] into setup.cfg"))
            return None
        section: _Section | None = _parsed(path, tomllib.loads).get("tool", {}).get("memdoctor")
        return section


def _speaks_of_memdoctor(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return _BEGIN_OF_SECTION.search(stream.read()) is not None
    except OSError:
        return False


def _ini_section(path: str) -> _Section | None:
    configparser = importlib.import_module("configparser")  # most projects have no section, and need no parser

    def sections(text: str) -> _Section:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        return dict(parser)

    section = _parsed(path, sections).get("memdoctor")
    return None if section is None else dict(section)


def _parsed(path: str, parse: Callable[[str], _Section]) -> _Section:
    try:
        with open(path, encoding="utf-8") as stream:
            return parse(stream.read())
    except Exception as error:  # every parser has its own errors; all mean that the user's file is broken
        raise BadInput(f"{path} cannot be read: {error}.", "Correct it, or leave [memdoctor] out.") from error


def _settings(path: str, section: _Section) -> Settings:
    known = {"select", "ignore", "exclude", "min-confidence"}
    said = {key.replace("_", "-"): value for key, value in section.items()}
    for key in said.keys() - known:
        raise BadInput(f"{path}: memdoctor has no setting {key!r}.", f"There are: {', '.join(sorted(known))}.")
    return Settings(
        _codes(path, _words(path, "select", said)),
        _codes(path, _words(path, "ignore", said)),
        tuple(patterns_of(_words(path, "exclude", said), os.path.dirname(path))),
        _confidence(path, said.get("min-confidence")),
    )


def _words(path: str, key: str, said: _Section) -> tuple[str, ...]:
    """A list of strings, or one string with commas or line ends between."""
    value = said.get(key, [])
    if isinstance(value, str):
        value = [word.strip() for word in value.replace(",", "\n").splitlines()]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise BadInput(f"{path}: {key} is {value!r}.", f'Write a list of strings: {key} = ["..."]')
    return tuple(filter(None, value))


def _codes(path: str, words: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(find_rule(word).code for word in words)
    except UnknownRule as error:
        raise UnknownRule(f"{path}: {error.found}", error.next_step) from error


def _confidence(path: str, value: object) -> Confidence | None:
    levels = {level.value: level for level in Confidence}
    if value is None:
        return None
    if value not in levels:
        raise BadInput(f"{path}: min-confidence is {value!r}.", f"There are: {', '.join(levels)}.")
    return levels[str(value)]
