"""Statements that keep a container short: `if len(x) > 100: x.pop(0)`, `if len(x) < n: x.append(y)`, `x = x[-100:]`.

A list that such a statement bounds fills like a leak until the limit is reached for the first time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memdoctor.analysis.chains import Chain, Scope, chain_of

_TAKES = frozenset({"pop", "popleft", "popitem", "clear", "remove"})
_GIVES = frozenset({"append", "appendleft", "add", "insert", "extend", "push", "put"})
_Comparisons = tuple[type[ast.cmpop], ...]
_ABOVE: _Comparisons = (ast.Gt, ast.GtE, ast.Eq)
_BELOW: _Comparisons = (ast.Lt, ast.LtE)


@dataclass(frozen=True)
class Limit:
    """One such statement."""

    target: Chain
    """The container."""
    elements: int
    """The most that it may have; 0 where the limit is no literal number."""
    text: str
    """The limit as it is written."""
    scope: Scope


def limits(statement: ast.stmt, scope: Scope) -> Iterator[Limit]:
    """Those that the statement itself sets."""
    match statement:
        case ast.If(test=test, body=body) | ast.While(test=test, body=body):
            for node in ast.walk(test):
                if isinstance(node, ast.Compare) and len(node.ops) == 1:
                    yield from _of_comparison(node, body, scope)
        case ast.Assign([target], ast.Subscript(whole, ast.Slice(lower=ast.UnaryOp() as last))):
            if chain_of(target) == chain_of(whole):
                yield from _of_slice(whole, last, scope)
        case ast.Delete([ast.Subscript(whole, ast.Slice(lower=None, upper=ast.UnaryOp() as last))]):
            yield from _of_slice(whole, last, scope)


@dataclass(frozen=True)
class Emptying:
    """A statement that leaves nothing in a container, wherever that was filled."""

    target: Chain
    scope: Scope


def emptyings(statement: ast.stmt, scope: Scope) -> Iterator[Emptying]:
    """`x.clear()`, `del x[:]`, and `self.x = []` where that is not how the object begins."""
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(holder, "clear"))):
            yield Emptying(chain_of(holder), scope)
        case ast.Delete([ast.Subscript(holder, ast.Slice(None, None))]):
            yield Emptying(chain_of(holder), scope)
        case ast.Assign([ast.Attribute() as holder], ast.List([]) | ast.Dict([])) if not _begins(scope):
            yield Emptying(chain_of(holder), scope)


def _begins(scope: Scope) -> bool:
    return scope.qualname.rsplit(".", 1)[-1] in ("__init__", "__post_init__")


def _of_slice(whole: ast.expr, last: ast.UnaryOp, scope: Scope) -> Iterator[Limit]:
    if chain_of(whole) and isinstance(last.op, ast.USub):
        yield _limit(chain_of(whole), last.operand, scope)


def _of_comparison(node: ast.Compare, body: Sequence[ast.stmt], scope: Scope) -> Iterator[Limit]:
    match node.left, node.comparators[0]:
        case ast.Call(func=ast.Name(id="len"), args=[container]), limit:
            above, below = _ABOVE, _BELOW
        case limit, ast.Call(func=ast.Name(id="len"), args=[container]):
            above, below = (*_BELOW, ast.Eq), (ast.Gt, ast.GtE)
        case _:
            return
    target, calls = chain_of(container), list(_calls(body))
    takes = any(name in _TAKES and chain == chain_of(container) for name, chain in calls) or _renews(body, target)
    gives = any(name in _GIVES and chain == chain_of(container) for name, chain in calls)
    bounds = (takes and isinstance(node.ops[0], above)) or (gives and isinstance(node.ops[0], below))
    if target and bounds and not _is_emptiness(limit):
        yield _limit(target, limit, scope)


def _is_emptiness(limit: ast.expr) -> bool:
    """`while len(queue) > 0: queue.pop()` takes what there is, and bounds nothing."""
    return isinstance(limit, ast.Constant) and limit.value in (0, 1)


def _calls(body: Sequence[ast.stmt]) -> Iterator[tuple[str, Chain]]:
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, chain_of(node.func.value)


def _renews(body: Sequence[ast.stmt], target: Chain) -> bool:
    """`x = []`, `x = x[1:]`, `del x[0]`."""
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Assign) and target in map(chain_of, node.targets):
            return True
        if isinstance(node, ast.Delete) and any(chain_of(each)[:-1] == target for each in node.targets):
            return True
    return False


def _limit(target: Chain, limit: ast.expr, scope: Scope) -> Limit:
    elements = limit.value if isinstance(limit, ast.Constant) and isinstance(limit.value, int) else 0
    return Limit(target, elements, ast.unparse(limit), scope)
