"""The static rules: one file each, and the one list of them."""

from __future__ import annotations

import difflib

from memdoctor.foundation.errors import UnknownRule
from memdoctor.rules import (
    empty_cache_in_loop,
    eval_without_no_grad,
    load_without_map_location,
    loss_kept_with_graph,
    output_kept_with_graph,
    retry_inside_except,
    unused_ignore,
)
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source

__all__ = ["ALL_RULES", "Rule", "Source", "find_rule"]

ALL_RULES: tuple[Rule, ...] = (
    loss_kept_with_graph.RULE,
    output_kept_with_graph.RULE,
    retry_inside_except.RULE,
    eval_without_no_grad.RULE,
    load_without_map_location.RULE,
    empty_cache_in_loop.RULE,
    unused_ignore.RULE,
)
"""In the order in which a file is checked: the last one judges what the others have found."""


def find_rule(text: str) -> Rule:
    """The rule with that code or name, in any case. Raises `UnknownRule` with near matches."""
    known = {key.lower(): rule for rule in ALL_RULES for key in (rule.code, rule.name)}
    wanted = text.strip().lower()
    if wanted in known:
        return known[wanted]
    near = [known[key] for key in difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)]
    shown = dict.fromkeys(f"{rule.code} ({rule.name})" for rule in near or ALL_RULES)
    raise UnknownRule(f"No rule is called {text!r}.", f"{'Did you mean' if near else 'There are'}: {', '.join(shown)}.")
