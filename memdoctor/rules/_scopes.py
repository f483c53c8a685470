"""The functions and classes of one file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from memdoctor.rules._names import last_name, parts_of, path_of, targets_of

Function = ast.FunctionDef | ast.AsyncFunctionDef

_MODULE_BASES = re.compile(r"Module|\w*(Net|Model|Loss|Layer|Block|Encoder|Decoder)\w*")
_FRAMEWORK_BASES = re.compile(
    r"(HF|Seq2Seq|SFT)?Trainer|\w*(Lightning|NeuralNet|Brain|Task|Hook|Callback|Metric|Learner|Algorithm|Strategy)\w*"
)
_PLAIN_BASES = frozenset({"object", "ABC", "Protocol", "Generic"})


@dataclass(eq=False)
class Class:
    """One class of the file."""

    node: ast.ClassDef
    methods: dict[str, Scope] = field(default_factory=dict)

    @property
    def bases(self) -> list[str]:
        """The last names of its base classes."""
        return [last_name(base) for base in self.node.bases]

    @property
    def is_module(self) -> bool:
        """It is, or by its base's name may be, an `nn.Module`: its caller decides about gradients."""
        return any(_MODULE_BASES.fullmatch(base) for base in self.bases)

    @property
    def is_framework(self) -> bool:
        """A framework calls its methods, and decides about gradients and about what is kept."""
        return any(_FRAMEWORK_BASES.fullmatch(base) for base in self.bases)


@dataclass(eq=False)
class Scope:
    """A function, a method, or the module itself."""

    node: Function | ast.Module
    owner: Class | None = None
    parent: Scope | None = None
    functions: dict[str, Scope] = field(default_factory=dict)
    """Those defined directly inside."""

    @property
    def name(self) -> str:
        """The function's name; empty for the module."""
        return "" if isinstance(self.node, ast.Module) else self.node.name

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters, without `self`."""
        if isinstance(self.node, ast.Module):
            return []
        spec = self.node.args
        names = [arg.arg for arg in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]]
        return names[1:] if self.owner is not None and names[:1] in (["self"], ["cls"]) else names

    def default_of(self, parameter: str) -> ast.expr | None:
        """What a parameter is if a call leaves it out."""
        if isinstance(self.node, ast.Module):
            return None
        spec = self.node.args
        positional = [*spec.posonlyargs, *spec.args]
        defaults = dict(zip([arg.arg for arg in reversed(positional)], reversed(spec.defaults)))
        defaults.update({arg.arg: value for arg, value in zip(spec.kwonlyargs, spec.kw_defaults) if value is not None})
        return defaults.get(parameter)

    def lookup(self, name: str) -> Scope | None:
        """The function of that name that is visible here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.functions:
                return scope.functions[name]
            scope = scope.parent
        return None

    @property
    def is_override(self) -> bool:
        """A method of a class whose base is defined elsewhere: who calls it cannot be seen."""
        return self.owner is not None and bool(set(self.owner.bases) - _PLAIN_BASES)

    @property
    def others_decide(self) -> bool:
        """The caller of a module's method, or a framework, decides about gradients and about what is kept."""
        inner: Scope | None = self
        while inner is not None:
            if inner.owner is not None and (inner.owner.is_module or inner.owner.is_framework):
                return True
            inner = inner.parent
        return False

    @cached_property
    def own_attributes(self) -> set[str]:
        """What it assigns on its object, as paths from `self`."""
        assigned = (target for node in self.own_nodes() if isinstance(node, ast.Assign) for target in node.targets)
        paths = {path_of(place) or "" for target in assigned for place in targets_of(target)}
        return {path for path in paths if path.startswith(("self.", "self["))}

    def own_nodes(self) -> Iterator[ast.AST]:
        """Every node of the body, without those of functions and classes inside."""
        waiting: list[ast.AST] = list(self.node.body)
        while waiting:
            node = waiting.pop()
            yield node
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
                waiting.extend(parts_of(node))
