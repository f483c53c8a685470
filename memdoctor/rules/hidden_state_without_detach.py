"""The state of one batch enters the next with its autograd graph.

The graph of a batch then reaches back through all batches before it, and backward wants to run through them again.
Without `retain_graph=True` PyTorch stops at the second batch, "backward through the graph a second time"; with it,
memory and the time of a step grow by one batch every iteration.

Bad::

    hidden = model.init_hidden(batch_size)
    for x, y in batches:
        out, hidden = model(x, hidden)
        criterion(out, y).backward(retain_graph=True)

Good::

    hidden = model.init_hidden(batch_size)
    for x, y in batches:
        out, hidden = model(x, hidden.detach())
        criterion(out, y).backward()

Does not see: a state that the model keeps in itself; one that goes through a function of another file.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._arguments import says
from memdoctor.rules._carried import carried_into
from memdoctor.rules._graph_flow import Flow, Forward
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report states that come round the loop which runs the backward."""
    for flow in source.flows() if not source.is_test else ():
        for forward in flow.forwards:
            path = carried_into(flow, forward)
            if path is not None:
                yield _finding(source, flow, forward, path)


def _finding(source: Source, flow: Flow, forward: Forward, path: str) -> Finding:
    retained = any(says(b.node, "retain_graph", True) for b in flow.backwards if b.loops == forward.loops)
    return RULE.finding(
        source, forward.node,
        f"`{path}` of the last iteration enters `{shown(forward.node.func)}` with its graph, so the graph reaches back"
        " through every iteration.",
        variable=path,
        advice=Advice(f"Detach `{path}` before the call.", Applicability.UNSAFE),
        confidence=Confidence.HIGH if retained else Confidence.MEDIUM,
    )


RULE = Rule("MD104", "hidden-state-without-detach", Severity.WARNING, check)
