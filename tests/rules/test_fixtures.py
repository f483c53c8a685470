"""Every line marked `# expect: CODE...` in fixtures/ is reported with those codes, and no other line is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memdoctor.rules import ALL_RULES, Source

_FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.py"))
_MARK = re.compile(r"# expect:((?: MD\d+)+)")


def _expected(path: Path) -> list[tuple[int, str]]:
    lines = path.read_text(encoding="utf-8").split("\n")
    marks = [(number, match) for number, line in enumerate(lines, 1) for match in _MARK.finditer(line)]
    return [(number, code) for number, match in marks for code in match.group(1).split()]


@pytest.mark.parametrize("path", _FIXTURES, ids=lambda path: path.stem)
def test_exactly_the_marked_lines_are_reported(path: Path) -> None:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    found = [finding for rule in ALL_RULES for finding in rule.check(source)]
    assert sorted((finding.location.line, finding.code) for finding in found if finding.location) == _expected(path)


def test_every_rule_has_a_fixture_that_it_finds() -> None:
    """A rule that no fixture asks for could be removed without a test noticing."""
    asked = {code for path in _FIXTURES for _, code in _expected(path)}
    assert asked == {rule.code for rule in ALL_RULES}
