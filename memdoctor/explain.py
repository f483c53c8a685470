"""What a code means: the docstring of the rule that defines it, or the text of a finding that only a run makes."""

from __future__ import annotations

from memdoctor.analysis.remarks import RUN_TIME_CODES
from memdoctor.foundation.findings import RuleText
from memdoctor.rules import ALL_RULES, find_rule


def explain(text: str) -> str:
    """The documentation of the rule with that code or name. Raises `UnknownRule` with near matches."""
    of_runs = {key.lower(): each for each in RUN_TIME_CODES for key in (each.code, each.name)}
    rule = of_runs.get(text.strip().lower()) or find_rule(text).text
    return f"{rule.code} {rule.name} ({rule.severity.value})\n\n{rule.documentation}\n"


def all_texts() -> tuple[RuleText, ...]:
    """Those of the rules, and of what only a run finds."""
    return (*rule_texts(), *RUN_TIME_CODES)


def rule_texts() -> tuple[RuleText, ...]:
    """All rules of the scan, by code."""
    return tuple(sorted((rule.text for rule in ALL_RULES), key=lambda text: text.code))
