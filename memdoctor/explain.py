"""What a code means: the documentation of the rule, which is the docstring of the file that defines it."""

from __future__ import annotations

from memdoctor.rules import find_rule


def explain(text: str) -> str:
    """The documentation of the rule with that code or name. Raises `UnknownRule` with near matches."""
    rule = find_rule(text)
    return f"{rule.code} {rule.name} ({rule.severity.value})\n\n{rule.documentation}\n"
