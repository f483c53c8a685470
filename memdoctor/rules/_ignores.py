"""The comments `# memdoctor: ignore[MD101]` of a file, and which of them have hidden something."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

from memdoctor.foundation.findings import Finding

UNUSED_IGNORE = "MD001"
"""The code of the rule about these comments; a comment without codes does not hide what is said about itself."""
EVERY_CODE = "*"
_COMMENT = re.compile(r"#\s*memdoctor:\s*ignore(?:\[([A-Za-z0-9,\s]*)\])?")


@dataclass(eq=False)
class Ignore:
    """One comment; columns count characters from 1, the end is exclusive."""

    line: int
    column: int
    end_column: int
    ends_comment: bool
    """Nothing follows it in its line but spaces: no reason, no other comment."""
    codes: tuple[str, ...]
    used: set[str] = field(default_factory=set)

    def hides(self, finding: Finding) -> bool:
        """True if it names the finding's code or none at all; then it is of use."""
        code = finding.code if finding.code in self.codes else EVERY_CODE
        if code not in self.codes or (code == EVERY_CODE and finding.code == UNUSED_IGNORE):
            return False
        self.used.add(code)
        return True


class Ignores:
    """All of a file; `judged` are the codes whose rules were asked, None for all."""

    def __init__(self, text: str) -> None:
        self.judged: frozenset[str] | None = None
        self._comments = list(_ignores(text)) if "memdoctor:" in text else []

    def hides(self, finding: Finding) -> bool:
        """A comment in one of the lines of the finding hides it."""
        place = finding.location
        if place is None:
            return False
        lines = range(place.line, (place.end_line or place.line) + 1)
        return any([comment.hides(finding) for comment in self._comments if comment.line in lines])

    def unused(self) -> Iterator[tuple[Ignore, list[str]]]:
        """Comments that hid nothing for some of their codes, with those; true only after all other rules were asked."""
        for comment in self._comments:
            idle = [code for code in comment.codes if code not in comment.used and self._is_judged(code)]
            if idle:
                yield comment, idle

    def _is_judged(self, code: str) -> bool:
        return self.judged is None or code in self.judged


def _ignores(text: str) -> Iterator[Ignore]:
    """Only comments: a string may speak of them."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            match = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
            if match:
                yield _ignore(token, match)
    except (tokenize.TokenError, SyntaxError):
        return  # what follows is no comment for Python either


def _ignore(token: tokenize.TokenInfo, match: re.Match[str]) -> Ignore:
    line, offset = token.start
    named = [code.strip().upper() for code in (match.group(1) or "").split(",")]
    codes = tuple(dict.fromkeys(filter(None, named))) or (EVERY_CODE,)
    ends = not token.string[match.end():].strip()
    return Ignore(line, offset + match.start() + 1, offset + match.end() + 1, ends, codes)
