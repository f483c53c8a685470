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

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Severity
from memdoctor.rules._grad_mode import volatile_uses
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report the first use in each function."""
    for use in volatile_uses(source).values():
        yield RULE.finding(
            source, use,
            "`volatile` has had no effect since PyTorch 0.4: gradients are on, and the forward keeps its activations.",
            advice=Advice("Run the forward under `with torch.no_grad():`.", Applicability.UNSAFE),
        )


RULE = Rule("MD206", "volatile-has-no-effect", Severity.ERROR, check)
