"""Whether gradients are on in a function, by what stands around its body and around the calls of it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from memdoctor.rules._arguments import is_constant, says
from memdoctor.rules._names import identifiers, last_name
from memdoctor.rules._scopes import Scope
from memdoctor.rules._torch_names import GRAD_OFF_NAME, GRAD_SWITCH_NAME

if TYPE_CHECKING:
    from memdoctor.rules._source import Source


def switches_grad_off(node: ast.AST) -> bool:
    """`torch.no_grad()`, `inference_mode`, a wrapper with such a name, or `set_grad_enabled` of anything but True."""
    if isinstance(node, ast.Call) and last_name(node.func) == GRAD_SWITCH_NAME:
        argument = node.args[0] if node.args else None
        return not (isinstance(argument, ast.Constant) and argument.value is True)
    return any(GRAD_OFF_NAME.search(name) for name in identifiers(node))


def scopes_with_grad_off(source: Source) -> set[Scope]:
    """Functions under a decorator that switches gradients off, or called in the file only where they are off.

    A recursive call adds nothing: all start as off, and lose it as soon as one call is found where they are on. What
    is left must begin somewhere: two functions that only call each other prove nothing.
    """
    if not GRAD_OFF_NAME.search(source.text) and GRAD_SWITCH_NAME not in source.text:
        return set()
    off = {scope for scope in source.scopes if not isinstance(scope.node, ast.Module)}
    decorated = {scope for scope in off if _is_decorated_off(source, scope)}
    callers = {scope: _callers_with_grad_on(source, scope) for scope in off - decorated}
    changed = True
    while changed:
        on = {scope for scope in off - decorated if not callers[scope].issubset(off) or not _calls_of(source, scope)}
        changed = bool(on)
        off -= on
    begun = decorated | {scope for scope in off - decorated if _is_called_inside_off(source, scope)}
    return _begun(off, begun, callers)


def _begun(off: set[Scope], begun: set[Scope], callers: dict[Scope, set[Scope]]) -> set[Scope]:
    """Those of `off` that are called, in steps, from where gradients are seen to be switched off."""
    more = begun
    while more:
        more = {scope for scope in off - begun if callers[scope] & begun}
        begun = begun | more
    return begun


def _is_called_inside_off(source: Source, scope: Scope) -> bool:
    return any(_is_inside_off(source, call, caller) for call, caller in _calls_of(source, scope))


def _calls_of(source: Source, scope: Scope) -> list[tuple[ast.Call, Scope]]:
    kind = ast.Name if scope.owner is None else ast.Attribute
    return [(call, caller) for call, caller in source.calls.get(scope.name, []) if isinstance(call.func, kind)]


def _callers_with_grad_on(source: Source, scope: Scope) -> set[Scope]:
    """The scopes that call it, save where a `with` around the call switches gradients off."""
    return {caller for call, caller in _calls_of(source, scope) if not _is_inside_off(source, call, caller)}


def _is_inside_off(source: Source, call: ast.Call, caller: Scope) -> bool:
    around = (node for node in source.around(call, caller) if isinstance(node, (ast.With, ast.AsyncWith)))
    return any(switches_grad_off(item.context_expr) for node in around for item in node.items)


def _is_decorated_off(source: Source, scope: Scope) -> bool:
    decorators = [] if isinstance(scope.node, ast.Module) else scope.node.decorator_list
    return any(_decorates_off(source, decorator) for decorator in decorators)


def _decorates_off(source: Source, decorator: ast.AST) -> bool:
    if switches_grad_off(decorator):
        return True
    name = last_name(decorator.func if isinstance(decorator, ast.Call) else decorator)
    wrapper = source.module.functions.get(name)
    return wrapper is not None and any(GRAD_OFF_NAME.search(found) for found in identifiers(wrapper.node))


def is_switched_by_statement(source: Source) -> bool:
    """Somewhere in the file `torch.set_grad_enabled(False)` stands as a statement: its reach cannot be known."""
    calls = source.calls.get(GRAD_SWITCH_NAME, [])
    return any(switches_grad_off(call) and isinstance(source.parents[call], ast.Expr) for call, _ in calls)


def volatile_uses(source: Source) -> dict[Scope, list[ast.Call | ast.Assign]]:
    """Each `volatile=True` or `x.volatile = True` of each function, in order: it once switched gradients off."""
    uses: dict[Scope, list[ast.Call | ast.Assign]] = {}
    for scope in source.scopes if "volatile" in source.text else ():
        found = [node for node in scope.own_nodes() if isinstance(node, (ast.Call, ast.Assign)) and _is_volatile(node)]
        if found:
            uses[scope] = sorted(found, key=lambda node: (node.lineno, node.col_offset))
    return uses


def _is_volatile(node: ast.Call | ast.Assign) -> bool:
    if isinstance(node, ast.Call):
        return says(node, "volatile", True)
    return is_constant(node.value, True) and any(last_name(target) == "volatile" for target in node.targets)
