"""Gradients are set to zero where they could be released.

`zero_grad()` drops the gradients, so their memory is free during the next forward, and the backward makes them anew.
Filled with zeros they stay: one more copy of the parameters, at the moment when activations pile up.

The two are not the same to an optimizer: it skips a parameter without a gradient, and with momentum or weight decay
still moves one whose gradient is zero. That matters only for parameters that a step does not use.

Bad::

    optimizer.zero_grad(set_to_none=False)

    for p in model.parameters():
        p.grad.zero_()

Good::

    optimizer.zero_grad()

Does not see: PyTorch before 2.0, where plain `zero_grad()` filled with zeros. Says nothing where gradients are added by
hand, which needs zeros to add to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Edit, Finding, Severity
from memdoctor.rules._arguments import says
from memdoctor.rules._edits import instead, without_keyword
from memdoctor.rules._names import last_name
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_MESSAGE = "The gradients are filled with zeros and kept: a copy of the parameters that the next forward could use."


def check(source: Source) -> Iterator[Finding]:
    """Report `zero_grad(set_to_none=False)`, and loops over all parameters that zero each gradient."""
    if source.is_test:
        return
    for call, _ in source.calls.get("zero_grad", []):
        if says(call, "set_to_none", False, 0) and not _adds_by_hand(source):
            edits = without_keyword(source, call, "set_to_none")
            yield _finding(source, call, "Leave the argument out.", edits)
    for call, scope in source.calls.get("zero_", []):
        if _gradient(call) is not None and scope.name != "zero_grad" and _is_for_all_parameters(source, call, scope):
            if not _adds_by_hand(source):
                yield _finding(source, call, "Call `zero_grad()`, or set each `.grad` to None.", _emptied(source, call))


def _finding(source: Source, call: ast.Call, text: str, edits: tuple[Edit, ...]) -> Finding:
    """Unsafe: an optimizer skips a parameter whose gradient is None, and still moves one whose gradient is zero."""
    return RULE.finding(source, call, _MESSAGE, advice=Advice(text, Applicability.UNSAFE, edits))


def _adds_by_hand(source: Source) -> bool:
    """`p.grad += g` somewhere: with None for a gradient that raises."""
    added = (node.target for node in source.parents if isinstance(node, ast.AugAssign))
    return any(last_name(target) == "grad" for target in added)


def _emptied(source: Source, call: ast.Call) -> tuple[Edit, ...]:
    """`p.grad.zero_()` as `p.grad = None`, where it is a statement."""
    holder = _gradient(call)
    statement = source.parents[call]
    if holder is None or not isinstance(statement, ast.Expr):
        return ()
    return (instead(source, statement, f"{ast.unparse(holder)} = None"),)


def _gradient(call: ast.Call) -> ast.expr | None:
    """`p.grad` of `p.grad.zero_()` and of `p.grad.data.zero_()`."""
    holder = call.func.value if isinstance(call.func, ast.Attribute) else call
    if isinstance(holder, ast.Attribute) and holder.attr == "data":
        holder = holder.value
    return holder if isinstance(holder, ast.Attribute) and holder.attr == "grad" else None


def _is_for_all_parameters(source: Source, call: ast.Call, scope: Scope) -> bool:
    loop = next((node for node in source.around(call, scope) if isinstance(node, ast.For)), None)
    over = loop.iter if loop is not None else None
    return isinstance(over, ast.Call) and last_name(over.func) in ("parameters", "named_parameters")


RULE = Rule("MD205", "zero-grad-keeps-buffers", Severity.INFO, check)
