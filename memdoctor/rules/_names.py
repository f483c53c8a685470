"""Names in source: the path an expression is stored under, and what an imported name stands for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property


def path_of(node: ast.AST) -> str | None:
    """`self.total`, `stats['loss']` or `stats[*]` for a key that is not constant; None for what is not a place."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = path_of(node.value)
        return None if base is None else f"{base}.{node.attr}"
    if isinstance(node, ast.Subscript):
        base = path_of(node.value)
        return None if base is None else f"{base}[{key_of(node.slice)}]"
    return None


def place_of(node: ast.AST) -> str | None:
    """The path of a container: of `d` for `d.setdefault(k, [])` and `d.get(k)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("setdefault", "get"):
        return path_of(node.func.value)
    return path_of(node)


def key_of(node: ast.AST) -> str:
    """A constant key as Python writes it, `*` for any other."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return f"-{node.operand.value!r}"
    return repr(node.value) if isinstance(node, ast.Constant) else "*"


def root_of(path: str) -> str:
    """The name a path begins with."""
    return path.split(".", 1)[0].split("[", 1)[0]


def holders_of(path: str) -> Iterator[str]:
    """What a path is an item or attribute of, nearest first: `a.b[0]` is of `a.b` and of `a`."""
    for end in range(len(path) - 1, 0, -1):
        if path[end] in ".[":
            yield path[:end]


def shown(node: ast.AST) -> str:
    """The expression as its author would recognise it, cut to 40 characters."""
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:37]}..."


def last_name(node: ast.AST) -> str:
    """The identifier a call is made by: `step` for `trainer.step(...)`; empty for calls of calls."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def identifiers(node: ast.AST) -> Iterator[str]:
    """Every name and attribute name in an expression."""
    for part in nodes_in(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def words(name: str) -> set[str]:
    """`train_lossG1` to {train, loss, g1}: what a name is made of."""
    return {part.lower().rstrip("0123456789") for part in re.findall(r"[A-Za-z][a-z0-9]*|[A-Z0-9]+(?![a-z])", name)}


_WITHOUT_NODES = frozenset(
    "ctx op ops id attr arg name names kind type_comment level module conversion simple kwd_attrs rest".split()
)


class _Fields(dict[type, tuple[str, ...]]):
    """The fields of each kind of node that can hold nodes: a scan spends most of its time walking trees."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        known = () if kind is ast.Constant else getattr(kind, "_fields", ())  # None stands in lists of nodes too
        fields = tuple(name for name in known if name not in _WITHOUT_NODES)
        self[kind] = fields
        return fields


FIELDS = _Fields()


def parts_of(node: ast.AST) -> list[ast.AST]:
    """The child nodes, without operators, load and store marks, and the names in imports."""
    parts: list[ast.AST] = []
    for name in FIELDS[type(node)]:
        value = getattr(node, name)
        if type(value) is list:
            parts += [item for item in value if item is not None] if None in value else value
        elif isinstance(value, ast.AST):
            parts.append(value)
    return parts


def nodes_in(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, as `ast.walk` in a third of its time, in no particular order."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += parts_of(node)


def targets_of(node: ast.AST) -> Iterator[ast.AST]:
    """The places one assignment target stores to; tuples and stars are opened."""
    if isinstance(node, (ast.Tuple, ast.List)):
        for element in node.elts:
            yield from targets_of(element)
    elif isinstance(node, ast.Starred):
        yield from targets_of(node.value)
    else:
        yield node


class Imports:
    """What the imported names of one file stand for: `F.mse_loss` is `torch.nn.functional.mse_loss`."""

    def __init__(self, statements: list[ast.Import | ast.ImportFrom]) -> None:
        self.names: dict[str, str] = {"torch": "torch"}  # it may also come in through `from x import *`
        for statement in statements:
            self._add(statement)

    def _add(self, statement: ast.Import | ast.ImportFrom) -> None:
        package = f"{statement.module or ''}." if isinstance(statement, ast.ImportFrom) else ""
        for alias in statement.names:
            if alias.asname or package:
                self.names[alias.asname or alias.name] = package + alias.name
            else:
                self.names[alias.name.split(".")[0]] = alias.name.split(".")[0]

    def resolve(self, node: ast.AST) -> str:
        """The dotted name that a name or attribute refers to; empty if it does not start at an import."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names:
            return ""
        return ".".join([self.names[node.id], *reversed(attributes)])

    @cached_property
    def packages(self) -> set[str]:
        """The top-level packages that are imported, and `torch`."""
        return {name.lstrip(".").split(".")[0] for name in self.names.values()}
