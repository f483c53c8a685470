"""Gradients are set to zero where they could be released.

`zero_grad()` drops the gradients, so their memory is free during the next forward, and the backward makes them anew.
Filled with zeros they stay: one more copy of the parameters, at the moment when activations pile up.

Bad::

    optimizer.zero_grad(set_to_none=False)

    for p in model.parameters():
        p.grad.zero_()

Good::

    optimizer.zero_grad()

Does not see: PyTorch before 2.0, where plain `zero_grad()` filled with zeros.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Severity
from memdoctor.rules._arguments import says
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
        if says(call, "set_to_none", False, 0):
            yield RULE.finding(source, call, _MESSAGE, advice=Advice("Leave the argument out.", Applicability.SAFE))
    for call, scope in source.calls.get("zero_", []):
        if _is_gradient(call) and scope.name != "zero_grad" and _is_for_all_parameters(source, call, scope):
            advice = Advice("Call `zero_grad()`, or set each `.grad` to None.", Applicability.MANUAL)
            yield RULE.finding(source, call, _MESSAGE, advice=advice)


def _is_gradient(call: ast.Call) -> bool:
    holder = call.func.value if isinstance(call.func, ast.Attribute) else call
    if isinstance(holder, ast.Attribute) and holder.attr == "data":
        holder = holder.value
    return isinstance(holder, ast.Attribute) and holder.attr == "grad"


def _is_for_all_parameters(source: Source, call: ast.Call, scope: Scope) -> bool:
    loop = next((node for node in source.around(call, scope) if isinstance(node, ast.For)), None)
    over = loop.iter if loop is not None else None
    return isinstance(over, ast.Call) and last_name(over.func) in ("parameters", "named_parameters")


RULE = Rule("MD205", "zero-grad-keeps-buffers", Severity.INFO, check)
