"""Meters: classes of the same file whose methods put what they are given into the object."""

from __future__ import annotations

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
    names = _parameters_in(flow, keep)
    for caller, call in calls_of(source, flow.scope):
        if is_in_data_loop(caller, call):
            for name in names & call.arguments.keys():
                if caller.state(call.arguments[name]) is State.YES:
                    yield caller, call.arguments[name]


def _is_kept_argument(flow: Flow, keep: Keep) -> bool:
    """An argument goes uncut, on every path, into an attribute that was there before the call."""
    owner = flow.scope.owner
    if owner is None or owner.is_module or owner.is_framework:
        return False
    if root_of(keep.path) != "self" or keep.path in flow.capped:
        return False
    uncut = flow.state_given_graph_arguments(keep.item) is State.YES and flow.state(keep.item) is State.MAYBE
    return uncut and flow.begins_outside(keep) and bool(_parameters_in(flow, keep))


def _parameters_in(flow: Flow, keep: Keep) -> set[str]:
    outside = {value.name for value in ancestors([keep.item]) if value.kind is Kind.OUTSIDE}
    return outside & set(flow.scope.parameters)
