"""What an assignment adds to the value that its target had: the ways to write a running sum or a growing list."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memdoctor.rules._names import path_of

_JOINING = frozenset(f"torch.{name}" for name in "cat concat concatenate hstack vstack".split())


@dataclass(frozen=True)
class Addition:
    """The right side of `total = total + x`, taken apart."""

    added: list[ast.expr]
    is_sum: bool
    """False for a container: a list, or a tensor that is concatenated."""
    aside: tuple[ast.expr, ...] = ()
    """What runs as well: the condition and the other branch of `x if total is None else total + x`."""


def addition(target: ast.AST, value: ast.expr, imported: Callable[[ast.AST], str]) -> Addition | None:
    """What `value` adds to `target`; None if it does not build on it. `imported` resolves a name to what it stands for.

    `total + x` with terms in any order, `0.9 * total + 0.1 * x`, `{k: sums[k] + new[k] for k in sums}`,
    `torch.cat([total, x])`, and any of them as a branch of a conditional expression.
    """
    path = path_of(target)
    if path is None:
        return None
    if isinstance(value, ast.IfExp):
        return _in_branch(target, value, imported)
    if isinstance(value, ast.DictComp):
        return _sum(value.value, f"{path}[*]")
    if isinstance(value, ast.Call) and imported(value.func) in _JOINING:
        return _joined(value, path)
    return _sum(value, path)


def _in_branch(target: ast.AST, value: ast.IfExp, imported: Callable[[ast.AST], str]) -> Addition | None:
    for branch, other in ((value.body, value.orelse), (value.orelse, value.body)):
        found = addition(target, branch, imported)
        if found is not None:
            return Addition(found.added, found.is_sum, (value.test, other, *found.aside))
    return None


def _sum(value: ast.expr, path: str) -> Addition | None:
    terms = list(_terms(value))
    added = [term for term in terms if not _is_old(term, path)]
    if not added or len(added) == len(terms):
        return None
    return Addition(added, not any(isinstance(term, ast.List) for term in added))


def _terms(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield node


def _is_old(term: ast.AST, path: str) -> bool:
    """The target itself, or the target with a weight: `0.9 * total`."""
    if isinstance(term, ast.BinOp) and isinstance(term.op, (ast.Mult, ast.Div)):
        return _is_old(term.left, path) or _is_old(term.right, path)
    return path_of(term) == path


def _joined(call: ast.Call, path: str) -> Addition | None:
    parts = call.args[0].elts if call.args and isinstance(call.args[0], (ast.List, ast.Tuple)) else []
    added = [part for part in parts if path_of(part) != path]
    return Addition(added, is_sum=False) if added and len(added) < len(parts) else None
