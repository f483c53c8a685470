"""A rule's documentation is its only copy, so its examples must be true: Bad is reported, Good is not."""

from __future__ import annotations

import textwrap

import pytest

from memdoctor.rules import ALL_RULES, Rule, Source

_HEADINGS = ("Bad::", "Good::", "Does not see:")


def _block(rule: Rule, heading: str) -> str:
    """The indented example under a heading, with the import that every example leaves out."""
    after = rule.documentation.split(f"\n{heading}\n", 1)[1]
    lines: list[str] = []
    for line in after.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return "import torch\n" + textwrap.dedent("\n".join(lines))


def _codes(rule: Rule, heading: str) -> list[str]:
    return [finding.code for finding in rule.check(Source("example.py", _block(rule, heading)))]


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.code)
class TestEachRule:
    def test_its_bad_example_is_reported(self, rule: Rule) -> None:
        assert rule.code in _codes(rule, "Bad::")

    def test_its_good_example_is_left_alone(self, rule: Rule) -> None:
        assert _codes(rule, "Good::") == []

    def test_its_documentation_has_every_heading(self, rule: Rule) -> None:
        assert [heading for heading in _HEADINGS if f"\n{heading}" not in rule.documentation] == []

    def test_it_begins_with_one_sentence(self, rule: Rule) -> None:
        assert rule.text.summary.endswith(".")


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in ALL_RULES}) == len({rule.name for rule in ALL_RULES}) == len(ALL_RULES)
