"""Meters: classes of the same file whose methods put what they are given into the object."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.rules._graph_flow import Flow, Keep, LocalCall
from memdoctor.rules._names import root_of
from memdoctor.rules._source import Source
from memdoctor.rules._summaries import role_of
from memdoctor.rules._values import Kind, Role, State, Value, ancestors


def is_kept_argument(flow: Flow, keep: Keep) -> bool:
    """An argument goes uncut, on every path, into an attribute that was there before the call."""
    owner = flow.scope.owner
    if owner is None or owner.is_module or owner.is_framework:
        return False
    if root_of(keep.path) != "self" or keep.path in flow.capped:
        return False
    uncut = flow.state_given_graph_arguments(keep.item) is State.YES and flow.state(keep.item) is State.MAYBE
    return uncut and flow.begins_outside(keep) and bool(_parameters_in(flow, keep))


def graphs_given(source: Source, flow: Flow, keep: Keep) -> Iterator[tuple[Flow, Value]]:
    """Calls in a loop over data that hand it a loss, or anything with a graph to sum: the caller's flow and it."""
    names = _parameters_in(flow, keep)
    for caller in source.flows():
        for call in caller.calls:
            if call.callee is flow.scope and _is_in_data_loop(caller, call):
                for name in names & call.arguments.keys():
                    given = call.arguments[name]
                    if caller.state(given) is State.YES and (keep.is_sum or role_of(caller, [given]) is Role.LOSS):
                        yield caller, given


def _parameters_in(flow: Flow, keep: Keep) -> set[str]:
    outside = {value.name for value in ancestors([keep.item]) if value.kind is Kind.OUTSIDE}
    return outside & set(flow.scope.parameters)


def _is_in_data_loop(caller: Flow, call: LocalCall) -> bool:
    return not call.grad_off and any(caller.trains(loop) or loop.over_data for loop in call.loops)
