"""Hooks of modules: the function that is registered, and what it collects."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.rules._names import last_name, path_of, targets_of
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_EMPTYING = frozenset({"clear", "pop", "popleft", "popitem", "remove"})


def collected_by_hook(source: Source, registration: ast.Call, scope: Scope) -> Iterator[ast.Call]:
    """Appends of the hook's own argument, uncut, to an attribute or global that the file never empties."""
    hook = _hook(source, registration, scope)
    given = hook.parameters[1:] if hook is not None else []
    for node in hook.own_nodes() if hook is not None else ():
        if isinstance(node, ast.Call) and last_name(node.func) == "append" and isinstance(node.func, ast.Attribute):
            holder = path_of(node.func.value)
            if len(node.args) == 1 and path_of(node.args[0]) in given and holder is not None:
                if _lives_long(source, hook, holder) and not _is_emptied(source, holder):
                    yield node


def _hook(source: Source, registration: ast.Call, scope: Scope) -> Scope | None:
    """The function of this file that is passed; a method if it is one of `self`."""
    function = registration.args[0] if registration.args else None
    if function is None or path_of(function) is None:
        return None
    return source.callee(ast.Call(function, [], []), scope)


def _lives_long(source: Source, hook: Scope | None, holder: str) -> bool:
    made = {path_of(place) for node in source.module.own_nodes() for place in _places(node)}
    return holder.startswith("self.") or holder in made


def _is_emptied(source: Source, holder: str) -> bool:
    """A method empties it, or it is assigned in more than one place."""
    name = holder.rsplit(".", 1)[-1]
    emptied = {last_name(call.func.value) for calls in (source.calls.get(n, []) for n in _EMPTYING)
               for call, _ in calls if isinstance(call.func, ast.Attribute)}
    assigned = [place for node in source.parents for place in _places(node) if last_name(place) == name]
    return name in emptied or "handle" in emptied or len(assigned) > 1


def _places(node: ast.AST) -> Iterator[ast.AST]:
    for target in node.targets if isinstance(node, (ast.Assign, ast.Delete)) else ():
        yield from targets_of(target)
