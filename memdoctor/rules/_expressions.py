"""Evaluates expressions to values; the table of paths, the loops and the grad mode at the current point live here."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from memdoctor.rules import _calls
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._loops import Loop, is_over_data
from memdoctor.rules._modes import Modes
from memdoctor.rules._names import holders_of, key_of, last_name, path_of, place_of, root_of, targets_of
from memdoctor.rules._patience import check_time
from memdoctor.rules._scopes import Scope
from memdoctor.rules._torch_names import CUTTING_ATTRIBUTES, is_loss_like, is_tensor_like
from memdoctor.rules._values import ARRAY, CONSTANT, Kind, Role, Value, cut, history, join, mix

if TYPE_CHECKING:
    from memdoctor.rules._source import Source


_PAIRED = frozenset({"items", "enumerate"})
_UNKNOWN = frozenset({Kind.OUTSIDE, Kind.OPAQUE})


class Expressions:
    """The state of a walk at one point of a scope, and how expressions read and change it."""

    def __init__(self, source: Source, scope: Scope, flow: Flow) -> None:
        self.source = source
        self.scope = scope
        self.flow = flow
        self.table: dict[str, Value] = {}
        self._roots_with_parts: set[str] = set()
        """Names whose items or attributes were ever stored: others need no search."""
        self.loops: tuple[Loop, ...] = ()
        self.grad_off = False
        self.modes = Modes()

    def evaluate(self, node: ast.AST) -> Value:
        """The value of an expression; calls in it are recorded."""
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            return handler(self, node)
        return self.opaque(self._children(node))

    def computed(self, inputs: Iterable[Value], role: Role = Role.NONE) -> Value:
        """The result of a computation: without graph where gradients are off."""
        return cut() if self.grad_off else mix(inputs, self.loops, role)

    def opaque(self, inputs: Iterable[Value] = ()) -> Value:
        """A value that nothing is known of, save what it may depend on."""
        return Value(Kind.OPAQUE, list(inputs), self.loops)

    def source_value(self, node: ast.Call, role: Role, inputs: Iterable[Value]) -> Value:
        """A graph begins here, unless gradients are off."""
        if self.grad_off:
            return cut()
        return Value(Kind.SOURCE, list(inputs), self.loops, last_name(node.func), role)

    def derived(self, base: Value) -> Value:
        """An element or attribute of a value."""
        if base.kind is Kind.CUT:
            return base
        if base.kind in (Kind.OPAQUE, Kind.OUTSIDE):
            return self.opaque([base])
        return mix([base], self.loops)

    def read(self, path: str) -> Value:
        """What a path holds, with all that was put into it; a path never seen came from outside."""
        value = self.stored(path)
        inside = [self.table[name] for name in self._inside(path)] if path != "self" else []
        return mix([value, *inside], value.loops) if inside else value

    def stored(self, path: str) -> Value:
        """What a path was last set to, without what was put into it since."""
        if path not in self.table:
            holder = next((name for name in holders_of(path) if name in self.table), None)
            known = holder is not None and self.table[holder].kind is not Kind.OUTSIDE
            self._put(path, self.derived(self.table[holder]) if known and holder else Value(Kind.OUTSIDE, name=path))
        return self.table[path]

    def store(self, path: str, value: Value) -> None:
        """Put a value at a path; what was inside the old one is forgotten, elements of a literal get their own."""
        for name in self._inside(path):
            del self.table[name]
        self._fill(path, value)

    def _fill(self, path: str, value: Value) -> None:
        self._put(path, value)
        for key, part in value.parts.items():
            self._fill(f"{path}[{key}]", part)

    def _put(self, path: str, value: Value) -> None:
        self.table[path] = value
        if not path.isidentifier():
            self._roots_with_parts.add(root_of(path))

    def _inside(self, path: str) -> list[str]:
        if root_of(path) not in self._roots_with_parts:
            return []
        check_time()
        beginnings = (f"{path}.", f"{path}[")
        return [name for name in self.table if name.startswith(beginnings)]

    def bind(self, target: ast.AST, value: Value) -> None:
        """Assign to a target; tuples are opened."""
        if isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target.elts, value)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, value)
        else:
            path = path_of(target)
            if path is not None:
                self.store(path, value)

    def bind_each(self, target: ast.AST, iterable: ast.AST, over: Value) -> None:
        """Assign to the target of a loop: of the pairs from `items()` and `enumerate()` the first is no tensor."""
        if isinstance(target, ast.Tuple) and isinstance(iterable, ast.Call) and last_name(iterable.func) in _PAIRED:
            self.bind(target.elts[0], cut())
            target = target.elts[-1]
        self.bind(target, self.derived(over))

    def _unpack(self, targets: list[ast.expr], value: Value) -> None:
        group: list[tuple[str, Value]] = []
        for position, target in enumerate(targets):
            part = value.parts.get(str(position)) or self._element(value, last_name(target))
            self.bind(target, part)
            group.append((last_name(target), part))
        self.flow.siblings.append(group)

    def _element(self, value: Value, name: str) -> Value:
        likely = is_loss_like(name) if value.role is Role.LOSS else is_tensor_like(name)
        if value.kind is Kind.CUT or likely:
            return self.derived(value)
        return self.opaque([value])

    def keep(
        self, node: ast.stmt | ast.expr, holder: ast.AST, item: Value, terms: list[ast.expr], is_sum: bool
    ) -> None:
        """Add an item to an accumulator. A sum made with gradients off, or in an array, gains no graph."""
        path = place_of(holder) or ""
        base = self.stored(path)
        if is_sum and (self.grad_off or self._is_in_array(path)):
            return
        value = Value(Kind.KEEP, [base, item], self.loops)
        self.flow.keeps.append(Keep(node, path, holder, terms, item, value, self.loops, is_sum))
        self._put(path, value)
        if not is_sum:
            self._put(f"{path}[-1]", item)

    def is_numbered_by_loop(self, key: ast.AST) -> bool:
        """The key is a name that the loop around it counts through."""
        loop = self.loops[-1].node if self.loops else None
        targets = targets_of(loop.target) if isinstance(loop, (ast.For, ast.AsyncFor)) else ()
        return isinstance(key, ast.Name) and key.id in {path_of(target) for target in targets}

    def keep_numbered(self, node: ast.Assign, target: ast.Subscript, item: Value) -> None:
        """`losses[i] = loss`: the loop fills a container that was made before; of a stranger nothing is known."""
        path = path_of(target.value)
        base = self.stored(path) if path is not None else self.opaque()
        if path is None or self.is_stranger(target.value):
            self.bind(target, item)
            return
        value = Value(Kind.KEEP, [base, item], self.loops)
        self.flow.keeps.append(Keep(node, path, target.value, [node.value], item, value, self.loops[-1:], False))
        self._put(path, value)

    def is_stranger(self, holder: ast.AST) -> bool:
        """Whether it is a container is not known: an object of another file, or an array."""
        path = path_of(holder)
        made_of = history(self.stored(path)) if path is not None else set()
        return not made_of or any(value.name == ARRAY or value.kind in _UNKNOWN for value in made_of)

    def _is_in_array(self, path: str) -> bool:
        root = root_of(path)
        return root != path and any(value.name == ARRAY for value in history(self.stored(root)))

    def _children(self, node: ast.AST) -> list[Value]:
        return [self.evaluate(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]

    def _cut(self, node: ast.AST) -> Value:
        self._children(node)
        return cut()

    def _constant(self, node: ast.Constant) -> Value:
        return Value(Kind.CUT, name=CONSTANT)

    def _text(self, node: ast.JoinedStr) -> Value:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.evaluate(part.value)
        return cut()

    def _place(self, node: ast.Name | ast.Attribute | ast.Subscript) -> Value:
        path = path_of(node)
        if path is not None and path in self.table:
            return self.read(path)
        if _has_cutting_attribute(node):
            self._children(node)
            return cut()
        if isinstance(node, ast.Subscript):
            self.evaluate(node.slice)
        if path is not None:
            return self.read(path)
        return self._member(node)

    def _member(self, node: ast.AST) -> Value:
        if isinstance(node, ast.Subscript):
            base = self.evaluate(node.value)
            return base.parts.get(key_of(node.slice)) or self.derived(base)
        assert isinstance(node, ast.Attribute)
        return self.derived(self.evaluate(node.value))

    def _binary(self, node: ast.BinOp) -> Value:
        operands = [self.evaluate(node.left), self.evaluate(node.right)]
        is_text = isinstance(node.left, ast.JoinedStr) or (
            isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        )
        return cut() if is_text else self.computed(operands)

    def _unary(self, node: ast.UnaryOp) -> Value:
        operand = self.evaluate(node.operand)
        return cut() if isinstance(node.op, ast.Not) else operand

    def _choice(self, node: ast.IfExp) -> Value:
        self.evaluate(node.test)
        return join(self.evaluate(node.body), self.evaluate(node.orelse))

    def _either(self, node: ast.BoolOp) -> Value:
        first, *rest = [self.evaluate(operand) for operand in node.values]
        for value in rest:
            first = join(first, value)
        return first

    def _sequence(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        elements = [self.evaluate(element) for element in node.elts]
        value = mix(elements, self.loops)
        if not isinstance(node, ast.Set) and not any(isinstance(element, ast.Starred) for element in node.elts):
            value.parts = {str(position): element for position, element in enumerate(elements)}
        return value

    def _dictionary(self, node: ast.Dict) -> Value:
        values = [self.evaluate(value) for value in node.values]
        result = mix(values, self.loops)
        result.parts = {
            key_of(key): value for key, value in zip(node.keys, values) if isinstance(key, ast.Constant)
        }
        return result

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
        loops, table = self.loops, self.table
        self.table = dict(table)
        for generator in node.generators:
            over = self.evaluate(generator.iter)
            self.loops = (*self.loops, Loop(node, False, is_over_data(generator.iter)))
            self.bind_each(generator.target, generator.iter, over)
            for condition in generator.ifs:
                self.evaluate(condition)
        element = self.evaluate(node.value if isinstance(node, ast.DictComp) else node.elt)
        result = self._collection(node, element) if self.loops[-1].over_data else mix([element], loops)
        self.loops, self.table = loops, table
        return result

    def _collection(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, element: Value) -> Value:
        """What a comprehension over data holds at its end; a generator holds one element at a time."""
        value = Value(Kind.KEEP, [cut(), element], self.loops)
        if not isinstance(node, ast.GeneratorExp):
            added = node.value if isinstance(node, ast.DictComp) else node.elt
            self.flow.keeps.append(Keep(node, "", node, [added], element, value, self.loops[-1:], False))
        return value

    def _named(self, node: ast.NamedExpr) -> Value:
        value = self.evaluate(node.value)
        self.bind(node.target, value)
        return value

    def _wrapped(self, node: ast.Starred | ast.Await) -> Value:
        return self.evaluate(node.value)

    def _yielded(self, node: ast.Yield | ast.YieldFrom) -> Value:
        if node.value is not None:
            self.flow.returns.append(self.evaluate(node.value))
        return self.opaque()

    def _lambda(self, node: ast.Lambda) -> Value:
        return cut()

    def _call(self, node: ast.Call) -> Value:
        return _calls.value_of(self, node)


def _has_cutting_attribute(node: ast.AST) -> bool:
    """`loss.data`, `loss.data[0]`, `pred.shape[0]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Attribute) and node.attr in CUTTING_ATTRIBUTES


_HANDLERS: dict[type, Callable[[Expressions, Any], Value]] = {
    ast.Constant: Expressions._constant,
    ast.Compare: Expressions._cut,
    ast.JoinedStr: Expressions._text,
    ast.Name: Expressions._place,
    ast.Attribute: Expressions._place,
    ast.Subscript: Expressions._place,
    ast.BinOp: Expressions._binary,
    ast.UnaryOp: Expressions._unary,
    ast.IfExp: Expressions._choice,
    ast.BoolOp: Expressions._either,
    ast.Tuple: Expressions._sequence,
    ast.List: Expressions._sequence,
    ast.Set: Expressions._sequence,
    ast.Dict: Expressions._dictionary,
    ast.ListComp: Expressions._comprehension,
    ast.SetComp: Expressions._comprehension,
    ast.GeneratorExp: Expressions._comprehension,
    ast.DictComp: Expressions._comprehension,
    ast.NamedExpr: Expressions._named,
    ast.Starred: Expressions._wrapped,
    ast.Await: Expressions._wrapped,
    ast.Yield: Expressions._yielded,
    ast.YieldFrom: Expressions._yielded,
    ast.Lambda: Expressions._lambda,
    ast.Call: Expressions._call,
}
