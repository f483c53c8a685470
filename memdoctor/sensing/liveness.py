"""Which variables cannot carry anything into the next iteration, read from the source.

A name that the loop writes before it reads it (`loss`, `logits`, `pred`) starts each iteration anew. At the end of
one it still reaches the whole chain through its graph, and would be blamed for what another variable keeps.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence

_Loop = (ast.For, ast.AsyncFor, ast.While)
_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_Scope = (*_Function, ast.ClassDef)
_Comprehension = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_Names = frozenset[str]


@functools.lru_cache(maxsize=64)
def dead_names(source: str, line: int) -> frozenset[str]:
    """Names of the function around `line` (of the module, outside functions) that are dead where its loop begins again.

    Each name is decided by the innermost loop around the line that binds it: a sum that the epoch resets lives in the
    loop over batches. Empty where there is no loop, and for source that does not parse.
    """
    scope = _scope_at(source, line)
    if scope is None:
        return frozenset()
    dead: set[str] = set()
    decided = _read_by_nested_functions(scope)
    for loop in reversed(_loops_around(scope, line)):
        bound = _bound(loop) - decided
        dead |= bound - _Flow().read_first(loop)
        decided |= bound
    return frozenset(dead)


@functools.lru_cache(maxsize=64)
def is_in_loop(source: str, line: int) -> bool:
    """True if a loop of the same function surrounds the line."""
    scope = _scope_at(source, line)
    return scope is not None and bool(_loops_around(scope, line))


@functools.lru_cache(maxsize=16)
def _parse(source: str) -> ast.AST | None:
    try:
        return _OwnNamesForComprehensions().visit(ast.parse(source))  # type: ignore[no-any-return]  # returns a node
    except (SyntaxError, ValueError, RecursionError):
        return None


class _OwnNamesForComprehensions(ast.NodeTransformer):
    """Renames the variables of comprehensions to what no statement can name, for they are not the function's."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, _Comprehension):
            own = {name for generator in node.generators for name in _stored(generator.target)}
            for name in ast.walk(node):
                if isinstance(name, ast.Name) and name.id in own:
                    name.id = f"<{name.id}>"
        return node


def _scope_at(source: str, line: int) -> ast.AST | None:
    scope = _parse(source)
    if scope is not None:
        for node in ast.walk(scope):  # outside in
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _spans(node, line):
                scope = node
    return scope


def _spans(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _loops_around(scope: ast.AST, line: int) -> list[ast.stmt]:
    """Outermost first."""
    return [node for node in _inside(scope) if isinstance(node, _Loop) and _spans(node, line)]


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """Nodes below, outside in; of nested functions and classes the node itself, but not what is in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, _Scope):
            yield from _inside(child)


def _bound(scope: ast.AST) -> _Names:
    names = {node.id for node in _inside(scope) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(names | {node.name for node in _inside(scope) if isinstance(node, defined)})


def _stored(*targets: ast.AST) -> _Names:
    names = (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
    return frozenset(name.id for name in names if not isinstance(name.ctx, ast.Load))


def _read_by_nested_functions(scope: ast.AST) -> _Names:
    nested = (node for node in _inside(scope) if isinstance(node, _Scope))
    return frozenset().union(*(_free(node) for node in nested))


def _free(scope: ast.AST) -> _Names:
    """What a nested function takes from outside: read there and not bound there, or declared so."""
    nodes = list(_inside(scope))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    declared = {name for node in nodes if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names}
    parameters = {node.arg for node in ast.walk(scope) if isinstance(node, ast.arg)}
    return frozenset((read | _read_by_nested_functions(scope)) - _bound(scope) - parameters) | declared


class _Flow:
    """Follows one iteration in the order of execution.

    The names that are sure to be written travel from statement to statement; `None` in their place means "does not
    get here", after `return` or `continue`.
    """

    def __init__(self) -> None:
        self._read_first: set[str] = set()

    def read_first(self, loop: ast.AST) -> _Names:
        """Names that some way through the iteration reads before it is sure to have written them."""
        if isinstance(loop, ast.While):
            self._block(loop.body, self._reads(frozenset(), loop.test))
        elif isinstance(loop, (ast.For, ast.AsyncFor)):
            self._block(loop.body, _stored(loop.target))
        return frozenset(self._read_first)

    def _block(self, statements: Sequence[ast.stmt], written: _Names | None) -> _Names | None:
        for statement in statements:
            if written is None:
                return None
            written = self._statement(statement, written)
        return written

    def _reads(self, written: _Names, *nodes: ast.AST | None) -> _Names:
        """What expressions read, and the targets of `:=` that they write."""
        below = [each for node in nodes if node is not None for each in ast.walk(node)]
        read = {each.id for each in below if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
        walrus = {each.target.id for each in below if isinstance(each, ast.NamedExpr)}
        self._read_first |= read - written - walrus
        return written | walrus

    def _statement(self, node: ast.stmt, written: _Names) -> _Names | None:
        match node:
            case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
                self._reads(written, node)
                return None
            case ast.If():
                return self._branches(self._reads(written, node.test), node.body, node.orelse)
            case ast.For() | ast.AsyncFor():
                after = self._reads(written, node.iter)
                self._block(node.body, after | _stored(node.target))
                return self._block(node.orelse, after)
            case ast.While():
                after = self._reads(written, node.test)
                self._block(node.body, after)
                return self._block(node.orelse, after)
            case ast.With() | ast.AsyncWith():
                return self._block(node.body, self._reads(written, *node.items) | _stored(*node.items))
            case ast.Try():
                return self._try(node, written)
            case ast.Match():
                return self._branches(self._reads(written, node.subject), *(case.body for case in node.cases), [])
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return self._reads(written, *node.decorator_list) | {node.name}
            case ast.AugAssign():
                self._reads(written, ast.Name(getattr(node.target, "id", ""), ast.Load()))
        return self._reads(written, node) | _stored(node)

    def _branches(self, written: _Names, *bodies: Sequence[ast.stmt]) -> _Names | None:
        return _sure([self._block(body, written) for body in bodies])

    def _try(self, node: ast.Try, written: _Names) -> _Names | None:
        done = self._block(node.orelse, self._block(node.body, written))
        handled = [self._block(handler.body, written) for handler in node.handlers]
        after = _sure([done, *handled])
        final = self._block(node.finalbody, written if after is None else after)
        return None if after is None else final


def _sure(branches: Sequence[_Names | None]) -> _Names | None:
    """What every branch that comes back has written."""
    arrived = [branch for branch in branches if branch is not None]
    return frozenset.intersection(*arrived) if arrived else None
