"""Meters: methods that put what they are given into their object, and functions that put it into a global."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.rules._callers import calls_of
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._names import root_of
from memdoctor.rules._source import Source
from memdoctor.rules._steps import is_in_data_loop
from memdoctor.rules._values import Kind, State, Value, ancestors


def graphs_given(source: Source, flow: Flow, keep: Keep) -> Iterator[tuple[Flow, Value]]:
    """Values with a graph that calls in a loop over data put into it: the caller's flow and the value."""
    if not _is_kept_argument(flow, keep):
        return
    names = _parameters_in(flow, keep) - {root_of(keep.path)}
    for caller, call in calls_of(source, flow.scope):
        if is_in_data_loop(caller, call) and not _is_learned_from(caller, flow):
            for name in names & call.arguments.keys():
                if caller.state(call.arguments[name]) is State.YES:
                    yield caller, call.arguments[name]


def _is_learned_from(caller: Flow, flow: Flow) -> bool:
    """The caller backwards what it reads from the object: a memory, not a meter."""
    owner = flow.scope.owner
    return owner is not None and any(c.callee.owner is owner and c.value in caller.backwarded for c in caller.calls)


def _is_kept_argument(flow: Flow, keep: Keep) -> bool:
    """An argument goes uncut, on every path, into what was there before the call."""
    if flow.scope.others_decide or not _is_lasting(flow, keep) or keep.path in flow.capped or keep.loops:
        return False
    uncut = flow.state_given_graph_arguments(keep.item) is State.YES and flow.state(keep.item) is State.MAYBE
    return uncut and flow.begins_outside(keep) and bool(_parameters_in(flow, keep))


def _is_lasting(flow: Flow, keep: Keep) -> bool:
    """An attribute of the object, a global container, or a default argument that all calls share."""
    root = root_of(keep.path)
    if root == "self":
        return True
    if root in flow.scope.parameters:
        return isinstance(flow.scope.default_of(root), (ast.List, ast.Dict))
    return not keep.is_sum and flow.scope.owner is None


def _parameters_in(flow: Flow, keep: Keep) -> set[str]:
    outside = {value.name for value in ancestors([keep.item]) if value.kind is Kind.OUTSIDE}
    return outside & set(flow.scope.parameters)
