"""Which forwards belong to an evaluation, and are worth nothing to a backward, though gradients are on."""

from __future__ import annotations

import ast
from pathlib import PurePath

from memdoctor.rules._callers import callers_only_read, calls_of
from memdoctor.rules._graph_flow import Flow, Forward, LocalCall
from memdoctor.rules._keeping import is_evaluation, is_evaluation_script, is_over_held_out_data
from memdoctor.rules._scopes import Scope
from memdoctor.rules._smoke_tests import is_smoke_test
from memdoctor.rules._source import Source
from memdoctor.rules._values import Kind, State, Value, ancestors

_GRADIENT_NAMES = frozenset({"requires_grad", "requires_grad_", "enable_grad", "set_requires_grad", "make_dot"})
_INNER_STEPS = frozenset({"adapt"})
"""Methods of other packages that differentiate inside: meta-learning evaluates with gradients."""


def wasted(source: Source, flow: Flow) -> Forward | LocalCall | None:
    """The first forward of a scope that is only evaluated, or the first call of a function of the file that runs it."""
    if flow.scope.others_decide or wants_gradients(flow.scope):
        return None
    forward = _first_forward(source, flow)
    return forward or next((call for call in flow.calls if _evaluates(source, flow, call)), None)


def wants_gradients(scope: Scope) -> bool:
    """It differentiates its inputs, draws the graph, or has switched the parameters' gradients off by hand."""
    return any(_is_about_gradients(node) for node in scope.own_nodes())


def _is_about_gradients(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == "requires_grad" and not (isinstance(node.value, ast.Constant) and not node.value.value)
    if isinstance(node, ast.Attribute):
        return node.attr in _GRADIENT_NAMES | _INNER_STEPS
    return isinstance(node, ast.Name) and node.id in _GRADIENT_NAMES


def _first_forward(source: Source, flow: Flow) -> Forward | None:
    return next((forward for forward in flow.forwards if _is_wasted(source, flow, forward)), None)


def _is_wasted(source: Source, flow: Flow, forward: Forward) -> bool:
    if forward.grad_off or flow.is_backwarded(forward) or _is_read_as_array(flow, forward.value):
        return False
    if is_smoke_test(source, flow.scope, forward):
        return False
    if any(loop.trains for loop in forward.loops[-1:]):
        return forward.was_set_to_evaluate and _is_set_in_loop(forward)
    if any(is_over_held_out_data(loop) for loop in forward.loops):
        return not any(loop.trains and is_over_held_out_data(loop) for loop in forward.loops)
    if flow.runs_backward:
        return forward.was_set_to_evaluate
    if forward.evaluates is None:
        return _is_evaluated_by_name(source, flow, forward) or _is_called_to_evaluate(source, flow.scope)
    return forward.evaluates and not any(call.value in other.backwarded for other, call in calls_of(source, flow.scope))


def _is_set_in_loop(run: Forward | LocalCall) -> bool:
    """`.eval()` is called in each iteration, and was not called once before, as to freeze batch norm."""
    return run.mode is not None and run.loops[-1] in run.mode.loops


def _is_read_as_array(flow: Flow, value: Value) -> bool:
    """`.numpy()` of it would raise if it had a graph: a caller must have switched gradients off."""
    return value in ancestors(flow.read_as_arrays, skip=frozenset({Kind.OPAQUE}))


def _is_evaluated_by_name(source: Source, flow: Flow, forward: Forward) -> bool:
    name = flow.scope.name
    evaluates = is_evaluation(name) if name else is_evaluation_script(PurePath(source.path).stem)
    if flow.scope.is_override or not evaluates:
        return False
    return not _is_returned(flow, forward.value) or callers_only_read(source, flow.scope)


def _is_called_to_evaluate(source: Source, scope: Scope) -> bool:
    """Every call in the file comes after `.eval()`, and reads the result."""
    modes = [call.mode for _, call in calls_of(source, scope)]
    return all(mode is not None and mode.evaluates for mode in modes) and callers_only_read(source, scope)


def _is_returned(flow: Flow, value: Value) -> bool:
    """The caller gets it, with its graph: as the result, or in a container that was there before."""
    given = [*flow.returns, *(keep.item for keep in flow.keeps if flow.begins_outside(keep))]
    return value in ancestors(value for value in given if flow.state(value) is not State.NO)


def _evaluates(source: Source, flow: Flow, call: LocalCall) -> bool:
    """After `.eval()` it calls a function that training calls too, and that runs a forward."""
    if call.mode is None or not call.mode.evaluates or any(loop.trains for loop in call.loops[-1:]):
        return False
    if call.grad_off or call.trains or call.value in flow.backwarded:
        return False
    return _runs_model(source, call.callee) and not _is_returned(flow, call.value)


def _runs_model(source: Source, callee: Scope) -> bool:
    """With gradients on, and is not reported for it itself."""
    inner = source.flow(callee)
    if inner is None or callee.others_decide or wants_gradients(callee) or source.is_grad_off(callee):
        return False
    plain = (forward for forward in inner.forwards if not forward.grad_off and forward.evaluates is None)
    if all(is_smoke_test(source, callee, forward) for forward in plain):
        return False
    return _first_forward(source, inner) is None
