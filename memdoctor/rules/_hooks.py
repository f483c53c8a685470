"""Hooks of modules: the function that is registered, and what it collects."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.rules._names import last_name, nodes_in, path_of, place_of, targets_of
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_EMPTYING = frozenset({"clear", "pop", "popleft", "popitem", "remove"})


def collected_by_hook(source: Source, registration: ast.Call, scope: Scope) -> Iterator[ast.Call]:
    """Appends of the hook's own argument, uncut, to an attribute or global that the file never empties."""
    names, nodes = _hook(source, registration, scope)
    for node in nodes:
        if isinstance(node, ast.Call) and last_name(node.func) == "append" and isinstance(node.func, ast.Attribute):
            holder = place_of(_whole(node.func.value))
            if len(node.args) == 1 and path_of(node.args[0]) in names and holder is not None:
                if _lives_long(source, holder) and not _is_emptied(source, holder):
                    yield node


def _hook(source: Source, registration: ast.Call, scope: Scope) -> tuple[list[str], Iterator[ast.AST]]:
    """Inputs and output, as the hook that is passed calls them, and the nodes of its body.

    A lambda, or a function of this file; a method if it is one of `self`.
    """
    function, scope = _passed(source, registration, scope)
    if isinstance(function, ast.Lambda):
        return [argument.arg for argument in function.args.args[1:]], nodes_in(function.body)
    if function is None or path_of(function) is None:
        return [], iter(())
    hook = source.callee(ast.Call(function, [], []), scope)
    return (hook.parameters[1:], hook.own_nodes()) if hook is not None else ([], iter(()))


def _passed(source: Source, registration: ast.Call, scope: Scope) -> tuple[ast.expr | None, Scope]:
    """The hook, and the scope that knows its name: of `register(make("layer4"))`, what `make` returns in its own."""
    function = registration.args[0] if registration.args else None
    factory = source.callee(function, scope) if isinstance(function, ast.Call) else None
    returned = [node.value for node in factory.own_nodes() if isinstance(node, ast.Return)] if factory else []
    return (returned[0], factory) if factory and len(returned) == 1 else (function, scope)


def _whole(container: ast.expr) -> ast.expr:
    """The dictionary, for a list in it."""
    return container.value if isinstance(container, ast.Subscript) else container


def _lives_long(source: Source, holder: str) -> bool:
    return holder.startswith("self.") or holder in _made_by_module(source)


def _made_by_module(source: Source) -> list[str | None]:
    return [path_of(place) for node in source.module.own_nodes() for place in _places(node)]


def _is_emptied(source: Source, holder: str) -> bool:
    """A method empties it, it is assigned in more than one place, its items are, or the file takes hooks off."""
    name = holder.rsplit(".", 1)[-1]
    emptied = {last_name(call.func.value) for calls in (source.calls.get(n, []) for n in _EMPTYING)
               for call, _ in calls if isinstance(call.func, ast.Attribute)}
    if name in emptied or any(not call.args for call, _ in source.calls.get("remove", [])):
        return True
    if name == holder:
        is_shared = any(isinstance(node, ast.Global) and name in node.names for node in source.parents)
        return is_shared or _made_by_module(source).count(name) > 1 or any(map(_is_item, _assigned(source, name)))
    return len(_assigned(source, name)) > 1


def _assigned(source: Source, name: str) -> list[ast.AST]:
    return [place for node in source.parents for place in _places(node) if last_name(place) == name]


def _is_item(place: ast.AST) -> bool:
    return isinstance(place, ast.Subscript)


def _places(node: ast.AST) -> Iterator[ast.AST]:
    for target in node.targets if isinstance(node, (ast.Assign, ast.Delete)) else ():
        yield from targets_of(target)
