"""Walks the statements of a scope in order: branches join, loops come round, a `with` may switch gradients off."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeGuard

from memdoctor.rules._additions import Addition, addition
from memdoctor.rules._expressions import Expressions
from memdoctor.rules._grad_mode import switches_grad_off
from memdoctor.rules._graph_flow import Flow
from memdoctor.rules._loops import loop_of
from memdoctor.rules._modes import Modes
from memdoctor.rules._names import last_name, nodes_in, path_of, targets_of
from memdoctor.rules._patience import check_time
from memdoctor.rules._scopes import Scope
from memdoctor.rules._values import Kind, Value, cut, join

if TYPE_CHECKING:
    from memdoctor.rules._source import Source

_Table = dict[str, Value]
_MUTATORS = frozenset({"append", "appendleft", "add", "insert", "extend", "clear"})


def walk(source: Source, scope: Scope) -> Flow:
    """The flow of one scope."""
    walker = _Statements(source, scope)
    walker.run(scope.node.body)
    return walker.flow


class _Statements:
    def __init__(self, source: Source, scope: Scope) -> None:
        self.flow = Flow(scope)
        self.here = Expressions(source, scope, self.flow)
        self.here.grad_off = source.is_grad_off(scope)
        self.reachable = True
        self._leaving: list[list[_Table]] = []

    def run(self, body: Iterable[ast.stmt]) -> None:
        check_time()
        for statement in body:
            if not self.reachable:
                return
            handler = _HANDLERS.get(type(statement))
            if handler is not None:
                handler(self, statement)

    def _expression(self, node: ast.Expr) -> None:
        self.here.evaluate(node.value)

    def _assign(self, node: ast.Assign) -> None:
        pairs = _pairs(node)
        if any(self._addition(target, value) for target, value in pairs):
            for target, value in pairs:
                self._assign_one(node, target, value)
            return
        result = self.here.evaluate(node.value)
        for target in node.targets:
            self._put(node, target, result)

    def _assign_one(self, node: ast.Assign, target: ast.expr, value: ast.expr) -> None:
        found = self._addition(target, value)
        if found is None:
            self._put(node, target, self.here.evaluate(value))
            return
        for part in found.aside:
            self.here.evaluate(part)
        item = self.here.computed([self.here.evaluate(term) for term in found.added])
        self.here.keep(node, target, item, found.added, found.is_sum)

    def _addition(self, target: ast.expr, value: ast.expr) -> Addition | None:
        return addition(target, value, self.here.source.imports.resolve)

    def _put(self, node: ast.Assign, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Subscript) and self.here.is_numbered_by_loop(target.slice):
            self.here.keep_numbered(node, target, value)
            return
        self.here.bind(target, value)
        path = path_of(target)
        if value.name == "deque" and path is not None:
            self.flow.capped.add(path)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.here.bind(node.target, self.here.evaluate(node.value))

    def _augmented(self, node: ast.AugAssign) -> None:
        item = self.here.evaluate(node.value)
        path = path_of(node.target)
        if path is None:
            return
        if isinstance(node.op, (ast.Add, ast.Sub)):
            self.here.keep(node, node.target, item, [node.value], is_sum=not isinstance(node.value, ast.List))
        else:
            self.here.store(path, self.here.computed([self.here.read(path), item]))

    def _return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.flow.returns.append(self.here.evaluate(node.value))
        self.reachable = False

    def _raise(self, node: ast.Raise) -> None:
        self.reachable = False

    def _leave_iteration(self, node: ast.Continue | ast.Break) -> None:
        if self._leaving:
            self._leaving[-1].append(dict(self.here.table))
        self.reachable = False

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            path = path_of(target.value if _is_slice(target) else target)
            if path is not None:
                self.here.store(path, cut() if _is_slice(target) else self.here.opaque())

    def _if(self, node: ast.If) -> None:
        self.here.evaluate(node.test)
        self._branches([node.body, node.orelse])

    def _match(self, node: ast.Match) -> None:
        self.here.evaluate(node.subject)
        self._branches([*(case.body for case in node.cases), []])

    def _try(self, node: ast.Try) -> None:
        before = dict(self.here.table)
        self.run([*node.body, *node.orelse])
        ends = [dict(self.here.table)] if self.reachable else []
        for handler in node.handlers:
            self.here.table, self.reachable = dict(before), True
            self.run(handler.body)
            ends += [dict(self.here.table)] if self.reachable else []
        self._continue_from(ends or [before], bool(ends))
        reachable, self.reachable = self.reachable, True
        self.run(node.finalbody)
        self.reachable = self.reachable and reachable

    def _branches(self, bodies: list[list[ast.stmt]]) -> None:
        before, ends = dict(self.here.table), []
        modes, ends_in = self.here.modes, []
        for body in bodies:
            self.here.table, self.here.modes, self.reachable = dict(before), modes, True
            self.run(body)
            if self.reachable:
                ends.append(dict(self.here.table))
                ends_in.append(self.here.modes)
        self._continue_from(ends or [before], bool(ends))
        self.here.modes = reduce(Modes.joined, ends_in) if ends_in else modes

    def _continue_from(self, ends: list[_Table], reachable: bool) -> None:
        table = ends[0]
        for other in ends[1:]:
            table = _joined(table, other)
        self.here.table, self.reachable = table, reachable

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        outer = self.here.grad_off
        for item in node.items:
            self._enter(item)
        self.run(node.body)
        self.here.grad_off = outer

    def _enter(self, item: ast.withitem) -> None:
        value = self.here.evaluate(item.context_expr)
        name = last_name(item.context_expr.func) if isinstance(item.context_expr, ast.Call) else ""
        if switches_grad_off(item.context_expr):
            self.here.grad_off = True
        elif name == "enable_grad":
            self.here.grad_off = False
        if item.optional_vars is not None:
            scaled = name == "scale_loss"
            self.here.bind(item.optional_vars, self.here.derived(value.inputs[0]) if scaled and value.inputs else value)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        over = self.here.evaluate(node.test if isinstance(node, ast.While) else node.iter)
        loop = loop_of(node)
        outer = self.here.loops
        heads = self._open_heads(node)
        self.flow.heads.update({(loop, path): head for path, head in heads.items()})
        self.here.loops = (*outer, loop)
        if not isinstance(node, ast.While):
            self.here.bind_each(node.target, node.iter, over)
        self._leaving.append([])
        self.run(node.body)
        ends = [*self._leaving.pop(), *([self.here.table] if self.reachable else [])]
        self._close_heads(heads, ends)
        self.here.loops, self.reachable = outer, True
        self.run(node.orelse)

    def _open_heads(self, node: ast.AST) -> _Table:
        heads: _Table = {}
        for path in sorted(_changed_paths(node), key=len):
            value = self.here.stored(path)
            heads[path] = self.here.table[path] = Value(Kind.LOOP, [value], self.here.loops)
        return heads

    def _close_heads(self, heads: _Table, ends: list[_Table]) -> None:
        after: _Table = {}
        for table in ends:
            after = _joined(after, table) if after else table
            for path, head in heads.items():
                if path in table:
                    head.inputs.append(table[path])
        for path, head in heads.items():
            if head.inputs[0].kind is not Kind.OUTSIDE or "." in path or "[" in path:
                after[path] = head
        self.here.table = after or self.here.table


def _joined(first: _Table, second: _Table) -> _Table:
    table = {**first, **second}
    for path in first.keys() & second.keys():
        table[path] = join(first[path], second[path])
    return table


def _pairs(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    """Targets with what goes into them, for one target: `total, n = total + loss, n + 1` has two."""
    target, value = node.targets[0], node.value
    if len(node.targets) > 1:
        return []
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts))
    return [(target, value)]


def _is_slice(target: ast.AST) -> TypeGuard[ast.Subscript]:
    """`items[:]`: to delete it empties the list."""
    return isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice)


def _changed_paths(loop: ast.AST) -> set[str]:
    paths: set[str] = set()
    for node in nodes_in(loop):
        for target in _targets(node):
            paths |= {path_of(place) or "" for place in targets_of(target)}
    return paths - {""}


def _targets(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Assign):
        return [*node.targets, *_filled(node.targets)]
    if isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.For, ast.NamedExpr)):
        return [node.target]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
        return [node.func.value]
    return []


def _filled(targets: list[ast.expr]) -> list[ast.AST]:
    """The containers in `losses[i] = loss`."""
    items = [target for target in targets if isinstance(target, ast.Subscript)]
    return [item.value for item in items if isinstance(item.slice, ast.Name)]


_HANDLERS: dict[type, Callable[[_Statements, Any], None]] = {
    ast.Expr: _Statements._expression,
    ast.Assign: _Statements._assign,
    ast.AnnAssign: _Statements._annotated,
    ast.AugAssign: _Statements._augmented,
    ast.Return: _Statements._return,
    ast.Raise: _Statements._raise,
    ast.Continue: _Statements._leave_iteration,
    ast.Break: _Statements._leave_iteration,
    ast.Delete: _Statements._delete,
    ast.If: _Statements._if,
    ast.Match: _Statements._match,
    ast.Try: _Statements._try,
    ast.With: _Statements._with,
    ast.AsyncWith: _Statements._with,
    ast.For: _Statements._loop,
    ast.AsyncFor: _Statements._loop,
    ast.While: _Statements._loop,
}
if hasattr(ast, "TryStar"):  # since Python 3.11
    _HANDLERS[ast.TryStar] = _Statements._try
