"""Functions that are called once per iteration, and what each call leaves in something that was there before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.rules._callers import calls_of
from memdoctor.rules._graph_flow import Flow, Keep, LocalCall
from memdoctor.rules._keeping import has_had_backward, is_freed
from memdoctor.rules._names import identifiers, path_of, root_of
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source
from memdoctor.rules._values import Kind, Value, ancestors

_DECLARATIONS = (ast.Global, ast.Nonlocal)


def freed_by_calls(source: Source, flow: Flow, keep: Keep) -> list[bool]:
    """One entry for each way in which calls make the accumulator grow: was the graph's backward run?

    Empty if it is made anew, emptied, backwarded, or if nothing says that the function is called again and again: a
    backward of its own, or a call in a loop over data.
    """
    if keep.loops or flow.scope.others_decide or keep.value in flow.backwarded:
        return []
    if root_of(keep.path) in flow.scope.parameters:
        return [] if keep.is_sum and keep.path.isidentifier() else list(_through_parameter(source, flow, keep))
    if not flow.begins_outside(keep) or _is_emptied(source, flow, keep) or _is_trained_on(source, flow, keep):
        return []
    return [is_freed(flow, keep.item)] if has_had_backward(flow, keep.item) else list(_in_loops(source, flow))


def _in_loops(source: Source, flow: Flow) -> Iterator[bool]:
    for caller, call in calls_of(source, flow.scope):
        if is_in_data_loop(caller, call):
            yield call.value in caller.backwarded


def is_in_data_loop(caller: Flow, call: LocalCall) -> bool:
    """It runs for each batch, with gradients on."""
    return not call.grad_off and any(caller.trains(loop) or loop.over_data for loop in call.loops)


def _through_parameter(source: Source, flow: Flow, keep: Keep) -> Iterator[bool]:
    """The container is an argument that the caller made before its loop and does not train on."""
    for caller, call in calls_of(source, flow.scope):
        given = call.arguments.get(root_of(keep.path))
        if given is not None and is_in_data_loop(caller, call) and _is_older(caller, call, given):
            yield is_freed(flow, keep.item) or call.value in caller.backwarded


def _is_older(caller: Flow, call: LocalCall, given: Value) -> bool:
    return call.loops[-1] not in given.loops and given.kind is not Kind.OPAQUE and given not in caller.backwarded


def _is_emptied(source: Source, flow: Flow, keep: Keep) -> bool:
    """Another method of the class, or a function that shares the name, limits or empties it."""
    if not keep.path.startswith("self."):
        return _is_emptied_around(source, flow.scope, keep.path)
    others = [other for other in source.flows() if other.scope.owner is flow.scope.owner and other is not flow]
    if any(keep.path in other.capped for other in others):
        return True
    scopes = [other.scope for other in others if other.scope.name != "__init__"]
    return any(_empties(node, keep.path) for scope in scopes for node in scope.own_nodes())


def _is_emptied_around(source: Source, scope: Scope, path: str) -> bool:
    """In the loop that calls the function, or by another function that says `global`."""
    loops = (call.loops[-1].node for _, call in calls_of(source, scope) if call.loops)
    if any(_empties(node, path) for loop in loops for body in _own_body(loop) for node in ast.walk(body)):
        return True
    sharing = (other for other in source.scopes if other is not scope and _declares(other, root_of(path)))
    return any(_empties(node, path) for other in sharing for node in other.own_nodes())


def _own_body(loop: ast.AST) -> list[ast.stmt]:
    return loop.body if isinstance(loop, (ast.For, ast.AsyncFor, ast.While)) else []


def _declares(scope: Scope, name: str) -> bool:
    return any(isinstance(node, _DECLARATIONS) and name in node.names for node in scope.own_nodes())


def _empties(node: ast.AST, path: str) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "clear":
        return path_of(node.func.value) == path
    if isinstance(node, ast.Delete):
        return any(path_of(target) in (path, f"{path}[*]") for target in node.targets)
    return isinstance(node, ast.Assign) and path in {path_of(target) for target in node.targets}


def _is_trained_on(source: Source, flow: Flow, keep: Keep) -> bool:
    """A backward elsewhere in the file runs on what was collected."""
    root = root_of(keep.path)
    return any(_backwards(other, keep.path, root) for other in source.flows() if other is not flow)


def _backwards(flow: Flow, path: str, root: str) -> bool:
    outside = (value.name for value in ancestors(flow.operands) if value.kind is Kind.OUTSIDE)
    if any(name == path or name.endswith(f".{path.rpartition('.')[2]}") for name in outside):
        return True
    return root != "self" and any(root in identifiers(backward.node) for backward in flow.backwards)
