"""All statements of a source file that put something somewhere, each with how surely it makes a container grow."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from memdoctor.analysis.chains import ANY_KEY, Chain, Scope, bound_names, chain_of
from memdoctor.analysis.limits import Emptying, Limit, emptyings, limits

CALL, ITEM, REPEATED, ACTS, ASSIGNED, EMPTY = 6, 5, 4, 3, 2, 1
"""How surely: a method that puts; an item or `+=`; an assignment at each iteration; a method that is given something
and whose result nobody takes; another assignment; the empty beginning."""

_PUTS = re.compile(
    "append|appendleft|add|extend|extendleft|insert|put|put_nowait|update|setdefault|push|set|set_result|send"
    "|register_.*hook|add_param_group|exception|critical|error|warning|info|debug"
)
_PUTS_INTO_FIRST = re.compile("heappush|insort|insort_left|insort_right")
"""Functions that are given the container."""
_NAMES_ATTRIBUTE = re.compile("setattr|__setattr__|register_(buffer|parameter|module)|add_module")
_REPLACES = ("_replace", "replace", "evolve")
"""Copies of a tuple or dataclass with other values for some of its fields."""
_EMPTY_CALLS = re.compile(
    "list|dict|set|tuple|deque|defaultdict|OrderedDict|Counter|Queue|zeros|zeros_like|empty|tensor"
)
_BEGINNINGS = ("__init__", "__post_init__", "reset", "setup")
_BINDINGS = (ast.For, ast.AsyncFor, ast.With, ast.AsyncWith, ast.Import)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Put:
    """One statement, and the place that it puts to."""

    target: Chain
    score: int
    statement: ast.stmt
    scope: Scope
    value: Chain = ()
    """For an assignment of another place: that place, which now has two names."""

    @property
    def line(self) -> int:
        return self.statement.lineno

    @property
    def is_binding(self) -> bool:
        """True for `for`, `with` and `import`, which name something and put nothing."""
        return isinstance(self.statement, _BINDINGS) and self.score == EMPTY

    def names(self, constant: str) -> bool:
        """True if the constant (its `repr`) stands in the statement."""
        return any(isinstance(each, ast.Constant) and repr(each.value) == constant for each in ast.walk(self.statement))


@dataclass(frozen=True)
class Call:
    """A call with places as arguments."""

    function: str
    """Last part of its name."""
    arguments: tuple[tuple[int | str, Chain], ...]
    """By position or keyword."""
    scope: Scope
    statement: ast.stmt
    creates_graph: bool = False
    """True if it says `create_graph=True`."""


@dataclass
class SourceFile:
    """What one file puts, calls, defines, keeps short and empties."""

    path: str
    puts: list[Put] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    emptyings: list[Emptying] = field(default_factory=list)


@functools.lru_cache(maxsize=2048)  # more than the files of a project: each verdict reads them all
def read_source(path: str, source: str) -> SourceFile:
    """Nothing for source that does not parse."""
    found = SourceFile(path)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return found
    _Reader(found).enter(tree.body, Scope("", tree, bound_names(tree)))
    return found


class _Reader:
    """Walks the statements with the scope and the number of loops around them."""

    def __init__(self, found: SourceFile) -> None:
        self._found = found

    def enter(self, statements: list[ast.stmt], scope: Scope) -> None:
        """The body of a module, class or function."""
        self._found.scopes.append(scope)
        self._block(statements, scope, 0)

    def _block(self, statements: list[ast.stmt], scope: Scope, loops: int) -> None:
        for statement in statements:
            self._statement(statement, scope, loops)

    def _statement(self, statement: ast.stmt, scope: Scope, loops: int) -> None:
        if isinstance(statement, _SCOPES):
            self.enter(statement.body, scope.inner(statement))
            return
        self._found.puts.extend(_assignments(statement, scope, loops))
        self._found.limits.extend(limits(statement, scope))
        self._found.emptyings.extend(emptyings(statement, scope))
        for node in _expressions(statement):
            if isinstance(node, ast.Call):
                self._found.puts.extend(_put_by_call(node, statement, scope))
                self._found.puts.extend(_put_to_attribute(node, statement, scope))
                self._found.calls.append(_call(node, statement, scope))
        deeper = loops + isinstance(statement, (ast.For, ast.AsyncFor, ast.While))
        for name in ("body", "orelse", "finalbody"):
            self._block(getattr(statement, name, []), scope, deeper)
        for branch in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
            self._block(branch.body, scope, loops)


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Nodes of the statement's own expressions; not of the statements in it."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        inner = (ast.stmt, ast.ExceptHandler, ast.match_case)
        waiting.extend(child for child in ast.iter_child_nodes(node) if not isinstance(child, inner))


def _assignments(statement: ast.stmt, scope: Scope, loops: int) -> Iterator[Put]:
    match statement:
        case ast.Assign():
            for target in statement.targets:
                for place, value in _pairs(target, statement.value):
                    yield _assignment(place, value, statement, scope, loops)
        case ast.AnnAssign(value=ast.expr() as value):
            yield _assignment(statement.target, value, statement, scope, loops)
        case ast.AugAssign():
            yield Put(chain_of(statement.target), ITEM, statement, scope)
        case ast.For() | ast.AsyncFor():
            for place in statement.target.elts if isinstance(statement.target, ast.Tuple) else [statement.target]:
                source = chain_of(statement.iter)
                yield Put(chain_of(place), EMPTY, statement, scope, (*source, ANY_KEY) if source else ())
        case ast.With() | ast.AsyncWith():
            for item in statement.items:
                if item.optional_vars is not None:
                    yield Put(chain_of(item.optional_vars), EMPTY, statement, scope, chain_of(item.context_expr))
        case ast.Import():
            for module in statement.names:
                if module.asname is not None:
                    named = chain_of(ast.parse(module.name, mode="eval").body)
                    yield Put((("name", module.asname),), EMPTY, statement, scope, named)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Tuple targets with tuple values one by one."""
    if not isinstance(target, (ast.Tuple, ast.List)):
        yield target, value
        return
    one_by_one = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
    for position, each in enumerate(target.elts):
        yield from _pairs(each, value.elts[position] if one_by_one else value)  # type: ignore[attr-defined]  # a tuple


def _assignment(place: ast.expr, value: ast.expr, statement: ast.stmt, scope: Scope, loops: int) -> Put:
    target = chain_of(place) or _named_global(place)
    alias = chain_of(value)
    if isinstance(place, ast.Subscript):
        return Put(target, ITEM, statement, scope, alias)
    if _reads(value, target, scope):
        return Put(target, ITEM, statement, scope)
    if _is_empty(value):
        return Put(target, EMPTY, statement, scope)
    return Put(target, REPEATED if _repeats(place, scope, loops) else ASSIGNED, statement, scope, alias)


def _named_global(place: ast.expr) -> Chain:
    """`globals()[f"output_{step}"]`."""
    match place:
        case ast.Subscript(value=ast.Call(func=ast.Name(id="globals")), slice=name):
            return (("name", _pattern(name)),)
    return ()


def _reads(value: ast.expr, target: Chain, scope: Scope) -> bool:
    """`bank = cat([bank, new])`, `out, hidden = model(x, hidden)`; `both = cat([bank, new])`, then `bank = both`."""
    if not target:
        return False
    names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    between = (each for name in names for each in scope.values_of(name))
    return any(chain_of(node) == target for each in (value, *between) for node in ast.walk(each))


def _is_empty(value: ast.expr) -> bool:
    match value:
        case ast.Constant():
            return True
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return not elements
        case ast.Dict(keys=keys):
            return not keys
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return _EMPTY_CALLS.fullmatch(name) is not None
    return False


def _repeats(place: ast.expr, scope: Scope, loops: int) -> bool:
    if loops:
        return True
    function = getattr(scope.node, "name", "")
    if isinstance(place, ast.Attribute):
        return bool(scope.qualname) and not scope.is_class and function not in _BEGINNINGS
    return isinstance(place, ast.Name) and scope.owner_of(place.id) != scope.qualname


def _function(node: ast.Call) -> str:
    """The last part of its name; empty for what a call has returned."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _put_by_call(node: ast.Call, statement: ast.stmt, scope: Scope) -> Iterator[Put]:
    if node.args and _PUTS_INTO_FIRST.fullmatch(_function(node)):
        yield Put(chain_of(node.args[0]), CALL, statement, scope)
    elif isinstance(node.func, ast.Attribute) and _PUTS.fullmatch(node.func.attr):
        target = chain_of(node.func.value)
        if node.func.attr == "setdefault" and node.args:
            target = chain_of(node)
        yield Put(target, CALL, statement, scope)
    elif isinstance(node.func, ast.Attribute) and node.args and isinstance(statement, ast.Expr):
        if statement.value is node:
            yield Put(chain_of(node.func.value), ACTS, statement, scope)


def _put_to_attribute(node: ast.Call, statement: ast.stmt, scope: Scope) -> Iterator[Put]:
    """`setattr(self, f"output_{step}", x)`, `self.register_buffer(...)`; `state._replace(outputs=outputs)`."""
    name = _function(node)
    if name in _REPLACES:
        fields = (each.arg for each in node.keywords if each.arg is not None)
        yield from (Put((("name", "*"), ("attr", field)), ITEM, statement, scope) for field in fields)
    if _NAMES_ATTRIBUTE.fullmatch(name):
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        whole, text, *_ = (*owner, *node.args, None, None)
        target = chain_of(whole) if whole is not None else ()
        if target and text is not None:
            name = _pattern(text)
            yield Put((*target, ("attr", name)), ITEM if "*" in name else ASSIGNED, statement, scope)


def _pattern(text: ast.expr) -> str:
    """`output_*` for `f"output_{step}"`, `*` for what is computed otherwise."""
    match text:
        case ast.Constant(value=str() as name):
            return name
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)
    return "*"


def _call(node: ast.Call, statement: ast.stmt, scope: Scope) -> Call:
    name = _function(node)
    places: list[tuple[int | str, Chain]] = [(index, chain_of(each)) for index, each in enumerate(node.args)]
    places += [(each.arg or "**", chain_of(each.value)) for each in node.keywords]
    creates_graph = any(each.arg == "create_graph" and _is_true(each.value) for each in node.keywords)
    return Call(name, tuple((key, place) for key, place in places if place), scope, statement, creates_graph)


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
