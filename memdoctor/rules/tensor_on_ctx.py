"""An autograd function keeps a tensor as an attribute of `ctx`.

`save_for_backward` lets go of its tensors when the backward has run. An attribute stays as long as the graph's node
does. If it is an output of the function, output and node refer to each other, and only the garbage collector can free
the pair.

Bad::

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.x = x
            return x.mul(factor)

Good::

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            return x.mul(factor)

Does not see: tensors inside a list or another object.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.rules._names import path_of
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_TENSOR_MEMBERS = re.compile(
    r"new_\w+|new|size|shape|view|reshape|numel|dim|contiguous|is_contiguous|detach|clone|device|dtype|is_cuda|t|stride"
    r"|transpose|permute|unsqueeze|squeeze|float|half|data_ptr|data|type_as|sum|mean|mul|add|div|clamp|exp|log|pow"
    r"|matmul|mm|bmm|requires_grad|expand_as|repeat|flatten|masked_fill|abs|sigmoid|tanh"
)
_OTHERS_WITH_SIZE = re.compile(r".*(group|comm|mesh|dtype|shape|config|cfg|quantizer|module|metadata|layout|op)s?\d*")


def check(source: Source) -> Iterator[Finding]:
    """Report inputs that are used as tensors, and returned values, that `forward` stores on its context."""
    for owner in source.classes.values():
        forward = owner.methods.get("forward")
        if forward is not None and "Function" in owner.bases and len(forward.parameters) > 1:
            yield from _stored(source, forward)


def _stored(source: Source, forward: Scope) -> Iterator[Finding]:
    context, *inputs = forward.parameters
    own = list(forward.own_nodes())
    tensors = _used_as_tensors(own) & set(inputs) | _computed_and_returned(own) - set(inputs)
    for node in own:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in tensors:
            if any(isinstance(place, ast.Attribute) and path_of(place.value) == context for place in node.targets):
                yield _finding(source, node, context, node.value.id)


def _used_as_tensors(own: list[ast.AST]) -> set[str]:
    used = [node for node in own if isinstance(node, ast.Attribute) and _TENSOR_MEMBERS.fullmatch(node.attr)]
    names = {node.value.id for node in used if isinstance(node.value, ast.Name)}
    return {name for name in names if not _OTHERS_WITH_SIZE.fullmatch(name)}


def _computed_and_returned(own: list[ast.AST]) -> set[str]:
    returned = {name for node in own if isinstance(node, ast.Return) for name in _returned_names(node.value)}
    computed = {path_of(node.targets[0]) for node in own if isinstance(node, ast.Assign) and _computes(node.value)}
    return {name for name in returned if name in computed}


def _returned_names(value: ast.expr | None) -> set[str]:
    elements = value.elts if isinstance(value, ast.Tuple) else [value]
    return {element.id for element in elements if isinstance(element, ast.Name)}


def _computes(value: ast.expr) -> bool:
    return isinstance(value, (ast.Call, ast.BinOp))


def _finding(source: Source, node: ast.Assign, context: str, name: str) -> Finding:
    return RULE.finding(
        source, node,
        f"`{name}` is kept on `{context}` until the graph's node dies; `save_for_backward` releases it after the"
        " backward.",
        variable=name,
        advice=Advice(f"Write `{context}.save_for_backward({name})`, and read `{context}.saved_tensors` in backward."),
        confidence=Confidence.MEDIUM,
    )


RULE = Rule("MD107", "tensor-on-ctx", Severity.WARNING, check)
