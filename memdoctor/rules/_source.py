"""One parsed file, and what every rule may ask of it.

The index of functions, classes, imports and calls is made at once; the walk of a function (`flow`) when a rule first
asks, and kept.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property

from memdoctor.foundation.locations import Location
from memdoctor.rules import _grad_mode, _statements
from memdoctor.rules._graph_flow import Flow
from memdoctor.rules._ignores import Ignores
from memdoctor.rules._index import Index
from memdoctor.rules._names import Imports, nodes_in, parts_of, path_of, root_of
from memdoctor.rules._scopes import Class, Scope
from memdoctor.rules._torch_names import (
    BUILDER_NAME,
    FOREIGN_FRAMEWORKS,
    FOREIGN_LOGS,
    MODEL_METHOD_NAME,
    MODEL_NAME,
    is_criterion,
)

_TEST_PATH = re.compile(r"(^|/)((tests|unit_?tests|testing|test_utils)/|test/(.*/)?(test_\w+|\w+_test)\.py$)")


class Source:
    """A file that parses; `text` has newlines only.

    Raises `SyntaxError`, `ValueError`, `RecursionError` or `MemoryError` for one that does not.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        self.tree = _parse(text)
        self.ignores = Ignores(text)
        index = Index(self.tree)
        self.module = index.module
        self.scopes = index.scopes
        self.classes = index.classes
        self.calls = index.calls
        self.tries = index.tries
        self.imports = Imports(index.imports)
        self.model_paths = set(filter(None, map(_path_of_model, index.calls_on_modules())))
        self._defined = index.defined
        self._targets = index.targets
        self._instances: dict[str, Class] = {}
        self._flows: dict[Scope, Flow | None] = {}
        self._find_instances()

    def _find_instances(self) -> None:
        for name, found in self.classes.items():
            for call, _ in self.calls.get(name, ()):
                self._instances.update({path_of(place) or "": found for place in self.assigned(call)})

    def assigned(self, call: ast.Call) -> Sequence[ast.AST]:
        """Where the result goes in `meter = Meter()` and in `losses, scores = Meter(), Meter()`."""
        return self._targets.get(call, ())

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """What each node stands in. Made when first asked for: most files have nothing to ask about."""
        parents: dict[ast.AST, ast.AST] = {}
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            parts = parts_of(node)
            parents.update(dict.fromkeys(parts, node))
            waiting += parts
        return parents

    def release(self) -> None:
        """Open the circles of references, so that the tree is freed now and not by the garbage collector later.

        Nothing can be asked afterwards. Collecting the trees of thousands of files took a third of a scan.
        """
        for scope in self.scopes:
            scope.functions.clear()
        for found in self.classes.values():
            found.methods.clear()
        for flow in filter(None, self._flows.values()):
            for head in flow.heads.values():
                head.inputs.clear()

    def column(self, line: int, offset: int) -> int:
        """The column, in characters from 1, of an offset of `ast`, which counts bytes of UTF-8 from 0."""
        text = self.lines[line - 1]
        return offset + 1 if text.isascii() else len(text.encode()[:offset].decode(errors="replace")) + 1

    def location(self, node: ast.stmt | ast.expr) -> Location:
        """The range of a node."""
        end_line, end_offset = node.end_lineno or node.lineno, node.end_col_offset
        end_column = None if end_offset is None else self.column(end_line, end_offset)
        return Location(self.path, node.lineno, self.column(node.lineno, node.col_offset), end_line, end_column)

    @property
    def is_test(self) -> bool:
        """A unit test, by its path: it is small on purpose."""
        return bool(_TEST_PATH.search(self.path))

    @cached_property
    def is_mixed(self) -> bool:
        """Another framework computes beside it, and does not only write logs: a name like `model` then says nothing."""
        if not self.imports.packages & FOREIGN_FRAMEWORKS:
            return False
        places = (node for node in nodes_in(self.tree) if isinstance(node, (ast.Name, ast.Attribute)))
        used = {self.imports.resolve(place) for place in places}
        foreign = [name for name in used if name.split(".")[0] in FOREIGN_FRAMEWORKS]
        computing = [name for name in foreign if not any(other.startswith(f"{name}.") for other in foreign)]
        return any(not FOREIGN_LOGS.search(name) for name in computing)

    def is_model(self, callee: ast.AST) -> bool:
        """True if calling this is a forward: by what else is done to it in the file, by its class, or by its name."""
        path = path_of(callee)
        if path is None:
            return False
        path = path.removesuffix(".module").removesuffix(".forward")
        name = path.split("[", 1)[0].rsplit(".", 1)[-1] if path.endswith("]") else path.rsplit(".", 1)[-1]
        if name in self.classes or BUILDER_NAME.match(name) or is_criterion(name) or path in self._defined:
            return False
        return self.is_known_model(callee) or self._is_named_like_model(path, name)

    def is_known_model(self, callee: ast.AST) -> bool:
        """By what is done to it in the file, or by its class; not by its name alone."""
        path = (path_of(callee) or "").removesuffix(".forward").removesuffix(".module")
        return path in self.model_paths or self._is_module_instance(path)

    def _is_named_like_model(self, path: str, name: str) -> bool:
        if self.is_mixed or name in self._defined or root_of(path) in self.imports.names:
            return False
        if "*" in self.imports.names and root_of(path) not in self._bound:
            return False
        pattern = MODEL_NAME if root_of(path) in (name, "self") else MODEL_METHOD_NAME
        return bool(pattern.fullmatch(name))

    @cached_property
    def _bound(self) -> set[str]:
        """Names that the file itself gives a value: others may come in through `from x import *`."""
        nodes = list(nodes_in(self.tree))
        stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        return stored | {node.arg for node in nodes if isinstance(node, ast.arg)}

    def _is_module_instance(self, path: str) -> bool:
        return path in self._instances and self._instances[path].is_module

    def callee(self, call: ast.Call, scope: Scope) -> Scope | None:
        """The function or method of this file that a call runs; None if it is elsewhere or not certain."""
        if isinstance(call.func, ast.Name):
            return scope.lookup(call.func.id)
        if not isinstance(call.func, ast.Attribute):
            return None
        return self._method(path_of(call.func.value), call.func.attr, scope)

    def around(self, node: ast.AST, scope: Scope) -> Iterator[ast.AST]:
        """What a node stands in, from the nearest outwards, up to the function or module."""
        node = self.parents[node]
        while node is not scope.node:
            yield node
            node = self.parents[node]

    def _method(self, receiver: str | None, name: str, scope: Scope) -> Scope | None:
        if receiver == "self":
            owner = _owner_of(scope)
            return self._inherited(owner, name) if owner is not None else None
        if receiver in self._instances:
            return self._inherited(self._instances[receiver], name)
        return None

    def _inherited(self, owner: Class, name: str, depth: int = 0) -> Scope | None:
        if name in owner.methods:
            return owner.methods[name]
        bases = [self.classes[base] for base in owner.bases if base in self.classes and depth < 10]
        found = (self._inherited(base, name, depth + 1) for base in bases)
        return next((method for method in found if method is not None), None)

    def flow(self, scope: Scope) -> Flow | None:
        """What happens to tensors in a scope; None while it is being worked out, as in a recursion."""
        if scope not in self._flows:
            self._flows[scope] = None
            self._flows[scope] = _statements.walk(self, scope)
        return self._flows[scope]

    @cached_property
    def _has_graphs(self) -> bool:
        """Something in the file differentiates, or runs a model and decides what becomes of the result."""
        if self.calls.keys() & {"backward", "manual_backward", "grad"}:
            return True
        if any(found.is_module for found in self._instances.values()):
            return True
        calls = (self.calls[name] for name in self.calls if self._may_be_model(name))
        return any(self.is_model(call.func) and not scope.others_decide for found in calls for call, scope in found)

    def _may_be_model(self, name: str) -> bool:
        """Whether calls by that name are worth asking `is_model` about: most files call many functions many times."""
        looks_like_one = MODEL_NAME.fullmatch(name) or MODEL_METHOD_NAME.fullmatch(name)
        return bool(looks_like_one) or name in ("module", "forward") or name in self._all_model_paths

    @cached_property
    def _all_model_paths(self) -> str:
        return " ".join([*self.model_paths, *self._instances])

    def flows(self) -> Iterator[Flow]:
        """The flow of every scope of the file; none where no graph can come from, to save the time."""
        for scope in self.scopes if self._has_graphs else ():
            flow = self.flow(scope)
            if flow is not None:
                yield flow

    @cached_property
    def _grad_off(self) -> set[Scope]:
        return _grad_mode.scopes_with_grad_off(self)

    def is_grad_off(self, scope: Scope) -> bool:
        """Gradients are off in the whole body, by a decorator or around every call."""
        return scope in self._grad_off


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in the scanned file is not ours to report
        return ast.parse(text)


def _path_of_model(call: ast.Call) -> str | None:
    """`model` in `model.eval()`; None for what is something else by its name."""
    path = path_of(call.func.value) if isinstance(call.func, ast.Attribute) else None
    return None if path is None or path == "self" or "optim" in path else path


def _owner_of(scope: Scope) -> Class | None:
    current: Scope | None = scope
    while current is not None and current.owner is None:
        current = current.parent
    return current.owner if current is not None else None
