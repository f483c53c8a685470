"""Arguments of calls, by keyword or by place, and which of them name a GPU."""

from __future__ import annotations

import ast

from memdoctor.rules._names import last_name, path_of, root_of, words

_DEVICE_WORDS = frozenset({"device", "dev", "cuda", "gpu"})
_SETTINGS = frozenset("self args opt opts cfg config conf hparams params torch".split())


def argument_of(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """The argument that is passed under a name, or at a place; None if it is left out."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[position] if position is not None and position < len(call.args) else None


def is_constant(node: ast.AST | None, value: object) -> bool:
    """The literal `value`, and not what merely equals it."""
    return isinstance(node, ast.Constant) and node.value is value


def says(call: ast.Call, name: str, value: bool, position: int | None = None) -> bool:
    """True for `f(name=True)` with that very constant."""
    return is_constant(argument_of(call, name, position), value)


def moves_to_gpu(call: ast.Call) -> bool:
    """`x.cuda()`, or `x.to(device)`; not `x.to("cpu")`, `x.to(torch.half)` or `x.to(other.device)`."""
    if not isinstance(call.func, ast.Attribute):
        return False
    if call.func.attr == "cuda":
        return (path_of(call.func.value) or "") != "torch"
    return call.func.attr == "to" and _is_gpu(argument_of(call, "device", 0))


def _is_gpu(node: ast.AST | None) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value.startswith("cuda")
    path = path_of(node) if node is not None else None
    if path is None:
        return False
    is_own = "." not in path or root_of(path) in _SETTINGS
    return is_own and bool(words(last_name(node) if node is not None else "") & _DEVICE_WORDS)
