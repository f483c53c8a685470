"""Hooks that are registered again and again, on something that was there before, and never taken off."""

from __future__ import annotations

import ast

from memdoctor.rules._callers import calls_of
from memdoctor.rules._loops import is_over_data, is_training_call
from memdoctor.rules._names import identifiers, nodes_in, path_of, root_of, targets_of
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source
from memdoctor.rules._steps import is_in_data_loop

MODULE_HOOKS = (
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_backward_hook",
    "register_full_backward_pre_hook",
)
TENSOR_HOOKS = ("register_hook", "register_post_accumulate_grad_hook")
_PARAMETERS = frozenset({"weight", "bias", "parameters", "named_parameters"})
_Loop = ast.For | ast.AsyncFor | ast.While


def is_piling_up(source: Source, call: ast.Call, scope: Scope) -> bool:
    """Unconditionally, in a loop over data or in a function that such a loop calls; nobody removes it."""
    holder = call.func.value if isinstance(call.func, ast.Attribute) else None
    path = path_of(holder) if holder is not None else None
    if path is None or not _stays(source, call) or _is_conditional(source, call, scope):
        return False
    roots = {root_of(path)}
    for loop in (node for node in source.around(call, scope) if isinstance(node, _Loop)):
        if _is_over_iterations(source, loop):
            return not roots & _assigned_in(loop) and _outlives_iterations(call, path, loop)
        if isinstance(loop, ast.For) and roots & set(identifiers(loop.target)):
            roots = set(identifiers(loop.iter))
    return _is_called_in_loop(source, call, scope, roots)


def _stays(source: Source, call: ast.Call) -> bool:
    """Its handle is thrown away, or kept in a file that never calls `remove`."""
    parent = source.parents[call]
    is_context = isinstance(parent, (ast.withitem, ast.Return))
    return isinstance(parent, ast.Expr) or (not is_context and "remove" not in source.calls)


def _is_conditional(source: Source, call: ast.Call, scope: Scope) -> bool:
    return any(isinstance(node, (ast.If, ast.Try)) for node in source.around(call, scope))


def _is_over_iterations(source: Source, loop: _Loop) -> bool:
    """It trains or runs a model, or goes over data."""
    calls = (node for node in nodes_in(loop) if isinstance(node, ast.Call))
    if any(is_training_call(call) or source.is_model(call.func) for call in calls):
        return True
    return not isinstance(loop, ast.While) and is_over_data(loop.iter)


def _outlives_iterations(call: ast.Call, path: str, loop: _Loop) -> bool:
    """A module does; of tensors, only the parameters by their names."""
    target = set() if isinstance(loop, ast.While) else set(identifiers(loop.target))
    if root_of(path) in target:
        return False
    is_on_module = isinstance(call.func, ast.Attribute) and call.func.attr in MODULE_HOOKS
    return is_on_module or path.rpartition(".")[2] in _PARAMETERS


def _is_called_in_loop(source: Source, call: ast.Call, scope: Scope, roots: set[str]) -> bool:
    """The function hooks its argument, its object or a global, which is older than the loop that calls it."""
    is_on_module = isinstance(call.func, ast.Attribute) and call.func.attr in MODULE_HOOKS
    if not scope.name or not is_on_module or roots & _assigned_in(scope.node):
        return False
    calls = [call for caller, call in calls_of(source, scope) if is_in_data_loop(caller, call)]
    given = [call.arguments.get(root) for call in calls for root in roots & set(scope.parameters)]
    return bool(calls) and all(value is not None and not value.loops for value in given)


def _assigned_in(node: ast.AST) -> set[str]:
    targets = (target for part in nodes_in(node) if isinstance(part, ast.Assign) for target in part.targets)
    return {root_of(path_of(place) or "") for target in targets for place in targets_of(target)}
