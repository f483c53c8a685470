"""Expressions that name a place: `self.history["val_loss"]` as a chain of accessors, and what the names in it mean."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

Accessor = tuple[str, str]
"""Kind and text: `name`, `attr` or `key`; a key that is not constant is `*`."""
Chain = tuple[Accessor, ...]

ANY_KEY: Accessor = ("key", "*")
_TRANSPARENT = ("setdefault", "get", "values", "items", "keys")
"""Methods of containers that hand out what is inside."""
_WRAPPERS = ("enumerate", "zip", "reversed", "list", "tuple", "sorted", "iter")


def chain_of(node: ast.AST) -> Chain:
    """Empty for an expression that names no place."""
    match node:
        case ast.Name():
            return (("name", node.id),)
        case ast.Attribute():
            return _extended(chain_of(node.value), ("attr", node.attr))
        case ast.Subscript():
            return _extended(chain_of(node.value), _key(node.slice))
        case ast.Call(func=ast.Attribute() as method) if method.attr in _TRANSPARENT:
            key = _key(node.args[0]) if node.args and method.attr in ("setdefault", "get") else ANY_KEY
            return _extended(chain_of(method.value), key)
        case ast.Call(func=ast.Name() as function, args=[first, *_]) if function.id in _WRAPPERS:
            return chain_of(first)
    return ()


def _extended(chain: Chain, accessor: Accessor) -> Chain:
    return (*chain, accessor) if chain else ()


def _key(node: ast.AST) -> Accessor:
    if isinstance(node, ast.Constant) and type(node.value) in (str, int):
        return ("key", repr(node.value))
    return ANY_KEY


@dataclass(frozen=True)
class Scope:
    """A function or class of a source file, with the names that it binds."""

    qualname: str
    """As Python spells it: `make_tracker.<locals>.track`; empty for the module."""
    node: ast.AST
    bound: frozenset[str]
    outer: Scope | None = None

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def class_name(self) -> str:
        """The innermost class around it."""
        if self.is_class or self.outer is None:
            return getattr(self.node, "name", "")
        return self.outer.class_name

    @property
    def first_line(self) -> int:
        """As `co_firstlineno`: that of the first decorator, 0 for a module."""
        decorators: list[ast.expr] = getattr(self.node, "decorator_list", [])
        return min(getattr(self.node, "lineno", 0), *(each.lineno for each in decorators), sys.maxsize)

    @property
    def parameters(self) -> tuple[str, ...]:
        arguments = getattr(self.node, "args", None)
        if not isinstance(arguments, ast.arguments):
            return ()
        return tuple(each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))

    @property
    def called_as(self) -> tuple[str, ...]:
        """The names in calls of this function: a constructor goes by that of its class."""
        name = getattr(self.node, "name", "")
        return (self.class_name,) if name == "__init__" else (name,)

    def owner_of(self, name: str) -> str:
        """Qualified name of the function that has the variable; empty for a global."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bound and (scope is self or not scope.is_class):
                return scope.qualname
            scope = scope.outer
        return ""

    def values_of(self, name: str) -> Sequence[ast.expr]:
        """What a function assigns to its own variable; nothing for a module's."""
        return self._values.get(name, []) if self.outer is not None and not self.is_class else []

    @functools.cached_property
    def _values(self) -> dict[str, list[ast.expr]]:
        values: dict[str, list[ast.expr]] = {}
        for each in ast.walk(self.node):
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
                values.setdefault(each.targets[0].id, []).append(each.value)
        return values

    def inner(self, node: ast.AST) -> Scope:
        """The scope of a function or class that is defined in this one."""
        name = getattr(node, "name", "<lambda>")
        separator = "" if not self.qualname else "." if self.is_class else ".<locals>."
        return Scope(f"{self.qualname}{separator}{name}", node, bound_names(node), self)


def bound_names(node: ast.AST) -> frozenset[str]:
    """Parameters and variables of a function, without those it declares global or nonlocal."""
    bound: set[str] = set()
    declared: set[str] = set()
    waiting = list(ast.iter_child_nodes(node))
    while waiting:
        each = waiting.pop()
        match each:
            case ast.Name(ctx=ast.Store()):
                bound.add(each.id)
            case ast.arg():
                bound.add(each.arg)
            case ast.Global() | ast.Nonlocal():
                declared.update(each.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound.add(each.name)
                continue
            case ast.Lambda():
                continue
        waiting.extend(ast.iter_child_nodes(each))
    return frozenset(bound - declared)
