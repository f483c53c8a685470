"""One walk over a file's tree: its functions, classes, imports, and calls by name.

Beside the parsing it is what a scan spends most of its time on. So expressions, which are most of a tree, are walked
for their calls alone, and no frame is made for a node.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from memdoctor.rules._names import FIELDS, last_name, parts_of
from memdoctor.rules._scopes import Class, Function, Scope
from memdoctor.rules._torch_names import MODULE_METHODS

_LEAVES = frozenset({ast.Name, ast.Constant, type(None)})
_WITH_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)


class Index:
    """What stands in a file, and in which scope."""

    def __init__(self, tree: ast.Module) -> None:
        self.module = Scope(tree)
        self.scopes: list[Scope] = [self.module]
        self.classes: dict[str, Class] = {}
        self.calls: dict[str, list[tuple[ast.Call, Scope]]] = defaultdict(list)
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.tries: list[ast.Try] = []
        self.defined: set[str] = set()
        """Names of functions and classes."""
        self.targets: dict[ast.AST, list[ast.expr]] = {}
        """Where values of assignments go; elements of a tuple by themselves."""
        self._walk(tree)

    def calls_on_modules(self) -> Iterator[ast.Call]:
        """Calls of methods that little else than a model has."""
        for name in MODULE_METHODS & self.calls.keys():
            for call, _ in self.calls[name]:
                if not (name == "eval" and call.args):  # an evaluator's eval takes arguments
                    yield call

    def _walk(self, tree: ast.Module) -> None:
        waiting: list[tuple[ast.AST, Scope, Class | None]] = [(tree, self.module, None)]
        while waiting:
            node, inside, holder = waiting.pop()
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inside, holder = self._add_function(node, inside, holder), None
            elif isinstance(node, ast.ClassDef):
                holder = self._add_class(node)
            else:
                self._add_statement(node)
            for part in parts_of(node):
                if isinstance(part, _WITH_STATEMENTS):
                    waiting.append((part, inside, holder))
                elif type(part) not in _LEAVES:
                    self._add_calls(part, inside)

    def _add_function(self, node: Function, parent: Scope, owner: Class | None) -> Scope:
        scope = Scope(node, owner, parent)
        (owner.methods if owner is not None else parent.functions)[node.name] = scope
        self.scopes.append(scope)
        self.defined.add(node.name)
        return scope

    def _add_class(self, node: ast.ClassDef) -> Class:
        self.defined.add(node.name)
        found = Class(node)
        self.classes.setdefault(node.name, found)
        return found

    def _add_statement(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self.imports.append(node)
        elif isinstance(node, ast.Try):
            self.tries.append(node)
        elif isinstance(node, ast.Assign):
            self._add_targets(node)

    def _add_targets(self, node: ast.Assign) -> None:
        if not isinstance(node.value, ast.Tuple):
            self.targets[node.value] = node.targets
            return
        for target in node.targets:
            if isinstance(target, ast.Tuple) and len(target.elts) == len(node.value.elts):
                for value, place in zip(node.value.elts, target.elts):
                    self.targets.setdefault(value, []).append(place)

    def _add_calls(self, expression: ast.AST, scope: Scope) -> None:
        waiting = [expression]
        while waiting:
            node = waiting.pop()
            if type(node) is ast.Call:
                self.calls[last_name(node.func)].append((node, scope))
            for name in FIELDS[type(node)]:
                part = getattr(node, name)
                if type(part) is list:
                    waiting += part
                elif type(part) not in _LEAVES:
                    waiting.append(part)
