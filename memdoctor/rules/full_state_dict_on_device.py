"""The full state of a sharded model is gathered on the GPUs.

FSDP shards a model because it does not fit on one card. A full state dict is the model in one piece: without
`offload_to_cpu` every card puts all of it together again, beside its shards, at each checkpoint.

Bad::

    config = FullStateDictConfig(rank0_only=True)

Good::

    config = FullStateDictConfig(offload_to_cpu=True, rank0_only=True)

Does not see: options that are variables; a configuration that is set in another file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Edit, Finding, Severity
from memdoctor.rules._arguments import argument_of, is_constant
from memdoctor.rules._edits import instead, with_argument
from memdoctor.rules._names import last_name
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_SWITCHES = ("state_dict_type", "set_state_dict_type")


def check(source: Source) -> Iterator[Finding]:
    """Report configurations without offload, and the full type without a configuration where a state is saved."""
    if source.is_test:
        return
    for call, _ in source.calls.get("FullStateDictConfig", []):
        offload = argument_of(call, "offload_to_cpu", 0)
        is_known = all(keyword.arg is not None for keyword in call.keywords)
        if is_known and not _may_be_true(offload) and not _is_a_default(source, call):
            yield _finding(source, call, _offloaded(source, call, offload))
    for call, scope in [found for name in _SWITCHES for found in source.calls.get(name, [])]:
        if _is_full_without_config(call) and _saves(source, call, scope):
            yield _finding(source, call, ())


def _offloaded(source: Source, call: ast.Call, offload: ast.expr | None) -> tuple[Edit, ...]:
    if offload is not None:
        return (instead(source, offload, "True"),)
    return (with_argument(source, call, "offload_to_cpu=True"),)


def _is_a_default(source: Source, call: ast.Call) -> bool:
    """What a class holds until its user says otherwise: without options, in an attribute or an annotated name."""
    parent = source.parents[call]
    is_held = isinstance(parent, ast.AnnAssign) or (
        isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Attribute)
    )
    return is_held and not call.args and not call.keywords


def _may_be_true(node: ast.expr | None) -> bool:
    return node is not None and not is_constant(node, False)


def _is_full_without_config(call: ast.Call) -> bool:
    kind = argument_of(call, "state_dict_type", 1)
    config = argument_of(call, "state_dict_config", 2)
    return kind is not None and last_name(kind) == "FULL_STATE_DICT" and config is None


def _saves(source: Source, call: ast.Call, scope: Scope) -> bool:
    block = next((node for node in source.around(call, scope) if isinstance(node, ast.With)), scope.node)
    inside = [last_name(node.func) for node in ast.walk(block) if isinstance(node, ast.Call)]
    return "state_dict" in inside


def _finding(source: Source, call: ast.Call, edits: tuple[Edit, ...]) -> Finding:
    """Unsafe: the tensors of the state dict are then on the host."""
    text = "Use `FullStateDictConfig(offload_to_cpu=True, rank0_only=True)`."
    return RULE.finding(
        source, call,
        "The full state dict is put together on every GPU, beside the shards: a whole model more at each checkpoint.",
        advice=Advice(text, Applicability.UNSAFE, edits),
    )


RULE = Rule("MD306", "full-state-dict-on-device", Severity.WARNING, check)
