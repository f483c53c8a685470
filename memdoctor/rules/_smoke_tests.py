"""A single forward whose result is thrown away or only measured: it shows that a model runs, and costs little."""

from __future__ import annotations

import ast

from memdoctor.rules._graph_flow import Forward
from memdoctor.rules._names import last_name, path_of, targets_of
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source
from memdoctor.rules._values import MADE_UP, ancestors

_MEASURES = frozenset({"size", "shape", "dtype", "device"})
_SHOWS = frozenset({"print", "len", "type"})


def is_smoke_test(source: Source, scope: Scope, forward: Forward) -> bool:
    """Once, and for no result: it is thrown away, or the input is made up and only the shape of the output is read."""
    parent = source.parents[forward.node]
    if not forward.loops and isinstance(parent, ast.Expr):
        return True
    if forward.loops or not any(value.name == MADE_UP for value in ancestors(forward.value.inputs)):
        return False
    if isinstance(parent, ast.Assign):
        names = {path_of(place) for target in parent.targets for place in targets_of(target)}
        reads = (node for node in scope.own_nodes() if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
        return all(_is_measured(source, read) for read in reads if read.id in names)
    return _is_measured(source, forward.node)


def _is_measured(source: Source, read: ast.expr) -> bool:
    parent = source.parents[read]
    while isinstance(parent, (ast.Subscript, ast.Starred)):
        parent = source.parents[parent]
    if isinstance(parent, ast.Attribute):
        return parent.attr in _MEASURES
    return isinstance(parent, ast.comprehension) or (isinstance(parent, ast.Call) and last_name(parent.func) in _SHOWS)
