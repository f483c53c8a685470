"""`backward(create_graph=True)` makes each parameter and its gradient keep each other alive.

The gradient then has a graph of its own, and that graph refers to the parameter that holds the gradient. Reference
counting cannot free such a cycle: the graph of the step, activations and all, stays on the card until `.grad` is set to
None or the garbage collector comes by, and it does not know that the card is full.

Bad::

    loss.backward(create_graph=True)

Good::

    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)

Does not see: a flag that is passed on.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._arguments import says
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report `backward` with that constant; `autograd.grad` is the right way and left alone."""
    for call, _ in source.calls.get("backward", []) if not source.is_test else ():
        if says(call, "create_graph", True):
            yield RULE.finding(
                source, call,
                "`backward(create_graph=True)` leaves a cycle between parameters and gradients: the graph of this step"
                " stays until every `.grad` is reset.",
                advice=Advice("Use `torch.autograd.grad`, or `zero_grad()` in each iteration.", Applicability.UNSAFE),
                confidence=Confidence.MEDIUM,
            )


RULE = Rule("MD203", "backward-create-graph", Severity.WARNING, check)
