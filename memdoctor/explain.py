"""What a code means: the documentation of the rule, which is the docstring of the file that defines it."""

from __future__ import annotations

from memdoctor.foundation.findings import RuleText
from memdoctor.rules import ALL_RULES, find_rule


def explain(text: str) -> str:
    """The documentation of the rule with that code or name. Raises `UnknownRule` with near matches."""
    rule = find_rule(text)
    return f"{rule.code} {rule.name} ({rule.severity.value})\n\n{rule.documentation}\n"


def rule_texts() -> tuple[RuleText, ...]:
    """All rules of the scan, by code."""
    return tuple(sorted((rule.text for rule in ALL_RULES), key=lambda text: text.code))
