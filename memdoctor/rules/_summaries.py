"""What a function of the same file gives back to its caller: a graph, no graph, or the graph of its arguments."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from memdoctor.rules._graph_flow import Flow
from memdoctor.rules._scopes import Scope
from memdoctor.rules._values import Kind, Role, State, Value, ancestors, cut

if TYPE_CHECKING:
    from memdoctor.rules._expressions import Expressions


def result_of(here: Expressions, node: ast.Call, callee: Scope, arguments: dict[str, Value]) -> Value:
    """The value of a call, from what the callee returns on all its paths."""
    flow = here.source.flow(callee)
    if flow is None or not flow.returns or here.source.is_grad_off(callee):
        return here.opaque(arguments.values()) if flow is None else cut()
    first = flow.returns[0]
    same_shape = all(set(value.parts) == set(first.parts) for value in flow.returns)
    result = _translated(here, node, flow, flow.returns, arguments)
    if same_shape and first.parts:
        result.parts = {
            key: _translated(here, node, flow, [value.parts[key] for value in flow.returns], arguments)
            for key in first.parts
        }
    return result


def _translated(
    here: Expressions, node: ast.Call, flow: Flow, returned: list[Value], arguments: dict[str, Value]
) -> Value:
    states = {flow.state(value) for value in returned}
    role = role_of(flow, returned)
    if states == {State.NO}:
        return cut()
    if states == {State.YES}:
        value = here.source_value(node, role, arguments.values())
        value.from_summary = True
        value.freed_inside = not flow.backwarded.isdisjoint(ancestors(returned))
        value.retained_inside = any(flow.is_retained(part) for part in returned)
        return value
    given = {flow.state_given_graph_arguments(value) for value in returned}
    if given == {State.YES} and _only_parameters(flow, returned):
        return here.computed(arguments.values(), role)
    return here.opaque(arguments.values())


def _only_parameters(flow: Flow, returned: list[Value]) -> bool:
    outside = [value for value in ancestors(returned) if value.kind in (Kind.OUTSIDE, Kind.OPAQUE)]
    return all(value.kind is Kind.OUTSIDE and value.name in flow.scope.parameters for value in outside)


def role_of(flow: Flow, values: list[Value]) -> Role:
    """A loss if a criterion made it or a backward ran on it; an output if only a forward is behind it."""
    made_of = ancestors(values)
    losses = {part for part in made_of if part.role is Role.LOSS or (part.role is Role.NONE and part in flow.proven)}
    if losses or not flow.operands.isdisjoint(values):
        return Role.LOSS
    return Role.OUTPUT if any(value.role is Role.OUTPUT for value in made_of) else Role.NONE
