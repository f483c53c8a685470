"""The static rules: one file each, and the one list of them."""

from __future__ import annotations

import difflib

from memdoctor.foundation.errors import UnknownRule
from memdoctor.rules import (
    anomaly_mode_left_on,
    backward_create_graph,
    checkpoint_kept_after_load,
    data_parallel,
    dataset_on_device,
    device_move_in_dataset,
    empty_cache_in_loop,
    eval_without_no_grad,
    full_state_dict_on_device,
    hidden_state_without_detach,
    hook_never_removed,
    load_without_map_location,
    loader_built_in_loop,
    loss_kept_with_graph,
    output_kept_on_device,
    output_kept_with_graph,
    process_group_without_device,
    retain_graph_without_use,
    retry_inside_except,
    step_output_returned,
    tensor_on_ctx,
    unused_ignore,
    volatile_has_no_effect,
    zero_grad_keeps_buffers,
)
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source

__all__ = ["ALL_RULES", "Rule", "Source", "find_rule"]

ALL_RULES: tuple[Rule, ...] = (
    loss_kept_with_graph.RULE,
    output_kept_with_graph.RULE,
    output_kept_on_device.RULE,
    hidden_state_without_detach.RULE,
    step_output_returned.RULE,
    hook_never_removed.RULE,
    tensor_on_ctx.RULE,
    retry_inside_except.RULE,
    eval_without_no_grad.RULE,
    retain_graph_without_use.RULE,
    backward_create_graph.RULE,
    anomaly_mode_left_on.RULE,
    zero_grad_keeps_buffers.RULE,
    volatile_has_no_effect.RULE,
    load_without_map_location.RULE,
    device_move_in_dataset.RULE,
    dataset_on_device.RULE,
    data_parallel.RULE,
    process_group_without_device.RULE,
    full_state_dict_on_device.RULE,
    checkpoint_kept_after_load.RULE,
    empty_cache_in_loop.RULE,
    loader_built_in_loop.RULE,
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
