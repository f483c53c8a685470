"""Patterns of `.gitignore` files and of `--exclude`, matched as git does (its manual page gitignore(5)).

Check by hand: `git check-ignore -v PATH`. Git's global excludes and `.git/info/exclude` are not read: what a scan
reports should not depend on whose machine it runs on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FILE_NAME = ".gitignore"


@dataclass(frozen=True)
class Pattern:
    """One line; `regex` matches a whole path that is relative to `folder`, with `/` between its parts."""

    folder: str
    regex: re.Pattern[str]
    is_negated: bool
    folders_only: bool

    def matches(self, path: str, is_folder: bool) -> bool:
        """Whether the line speaks of that absolute path; an ignored folder is not entered, so its files never ask."""
        inside = os.path.join(self.folder, "")
        if not path.startswith(inside) or (self.folders_only and not is_folder):
            return False
        return self.regex.fullmatch(path[len(inside):].replace(os.sep, "/")) is not None


def is_ignored(patterns: Sequence[Pattern], path: str, is_folder: bool) -> bool:
    """The last line that matches decides."""
    for pattern in reversed(patterns):
        if pattern.matches(path, is_folder):
            return not pattern.is_negated
    return False


def patterns_of(lines: Iterable[str], folder: str) -> list[Pattern]:
    """The patterns of those lines, relative to an absolute folder; comments and lines without a meaning left out."""
    read = (_pattern(line.rstrip("\r\n"), folder) for line in lines)
    return [pattern for pattern in read if pattern is not None]


def patterns_in(folder: str) -> list[Pattern]:
    """Those of the `.gitignore` of an absolute folder; none where there is no such file that can be read."""
    try:
        with open(os.path.join(folder, FILE_NAME), encoding="utf-8", errors="replace") as stream:
            return patterns_of(stream, folder)
    except OSError:
        return []


def patterns_above(folder: str) -> list[Pattern]:
    """Those of the folders above, up to the root of the repository; none outside of one."""
    above = []
    while not os.path.exists(os.path.join(folder, ".git")):
        folder, child = os.path.dirname(folder), folder
        if folder == child:
            return []
        above.append(folder)
    return [pattern for place in reversed(above) for pattern in patterns_in(place)]


def _pattern(line: str, folder: str) -> Pattern | None:
    line = re.sub(r"(?<!\\) +$", "", line)
    is_negated = line.startswith("!")
    body = line[is_negated:]
    folders_only = body.endswith("/")
    body = body.rstrip("/")
    if not body or line.startswith("#"):
        return None
    anywhere = "" if "/" in body else "(?:.*/)?"
    try:
        regex = re.compile(anywhere + _translated(body.removeprefix("/")), re.DOTALL)
    except re.error:  # a class such as [z-a]; git matches nothing with it
        return None
    return Pattern(folder, regex, is_negated, folders_only)


_PARTS = re.compile(r"(?P<lead>^\*\*/)|(?P<deep>/\*\*/)|(?P<tail>/\*\*$)|(?P<star>\*+)|(?P<one>\?)"
                    r"|\[(?P<negated>[!^]?)(?P<members>\]?(?:\\.|[^\]\\])*)\]|\\(?P<escaped>.)|(?P<plain>.)", re.DOTALL)
_MEANINGS = {"lead": "(?:.*/)?", "deep": "/(?:.*/)?", "tail": "/.*", "star": "[^/]*", "one": "[^/]"}


def _translated(body: str) -> str:
    return "".join(map(_translated_part, _PARTS.finditer(body)))


def _translated_part(part: re.Match[str]) -> str:
    kind = part.lastgroup or "plain"
    if kind in _MEANINGS:
        return _MEANINGS[kind]
    if kind == "members":
        members = re.sub(r"([\[&|~^])", r"\\\1", part["members"])
        members = re.sub(r"^\]", r"\\]", members)
        return f"(?!/)[{'^' if part['negated'] else ''}{members}]"
    return re.escape(part[kind])
