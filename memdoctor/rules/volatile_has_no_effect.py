"""`volatile=True` is used to switch gradients off, which it has not done since PyTorch 0.4.

The keyword is accepted and ignored. The forward that follows builds its graph and keeps every activation, so what was
meant to be a cheap evaluation has the peak of training.

Bad::

    def predict(model, x):
        return model(torch.autograd.Variable(x, volatile=True)).argmax(1)

Good::

    def predict(model, x):
        with torch.no_grad():
            return model(x).argmax(1)

Does not see: a flag that is passed on, as in `Variable(x, volatile=evaluating)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Edit, Finding, Severity
from memdoctor.rules._edits import deletion, without_gradients, without_keyword
from memdoctor.rules._grad_mode import volatile_uses
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report the first use in each function."""
    for scope, uses in volatile_uses(source).items():
        yield RULE.finding(
            source, uses[0],
            "`volatile` has had no effect since PyTorch 0.4: gradients are on, and the forward keeps its activations.",
            advice=Advice(
                "Run the forward under `with torch.no_grad():`.", Applicability.UNSAFE, _edits(source, scope, uses)
            ),
        )


def _edits(source: Source, scope: Scope, uses: list[ast.Call | ast.Assign]) -> tuple[Edit, ...]:
    """The decorator in the place of the keyword; none for a function that also trains."""
    flow = source.flow(scope)
    if flow is None or flow.runs_backward or scope.others_decide:
        return ()
    decorator = without_gradients(source, scope)
    return (*decorator, *(edit for use in uses for edit in _without(source, use))) if decorator else ()


def _without(source: Source, use: ast.Call | ast.Assign) -> tuple[Edit, ...]:
    return without_keyword(source, use, "volatile") if isinstance(use, ast.Call) else deletion(source, use)


RULE = Rule("MD206", "volatile-has-no-effect", Severity.ERROR, check)
