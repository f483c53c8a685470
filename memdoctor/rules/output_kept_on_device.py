"""Outputs are collected on the GPU, without a graph, until the loop ends.

That is the size of all outputs of the data set. It is little for a class per image and much for a map per pixel or
scores over a vocabulary; which of them it is cannot be seen in the source, so this is shown only when asked for.

Bad::

    for x, y in test_loader:
        with torch.no_grad():
            out = model(x)
        outputs.append(out)

Good::

    for x, y in test_loader:
        with torch.no_grad():
            out = model(x)
        outputs.append(out.cpu())

Does not see: how large the outputs are, and whether the model is on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source
from memdoctor.rules._values import ON_DEVICE


def check(source: Source) -> Iterator[Finding]:
    """Report containers that grow over the data by an output just as the model returned it, or detached."""
    for flow in source.flows() if not source.is_test else ():
        for keep in flow.keeps if not flow.scope.others_decide else ():
            if keep.item.name == ON_DEVICE and not keep.is_sum and _grows(flow, keep):
                yield RULE.finding(
                    source, keep.node,
                    f"`{keep.name}` keeps `{shown(keep.added)}` of every iteration on the GPU.",
                    variable=keep.name,
                    advice=Advice("Keep `.cpu()` of it.", Applicability.UNSAFE),
                    confidence=Confidence.LOW,
                )


def _grows(flow: Flow, keep: Keep) -> bool:
    return keep.path not in flow.capped and any(loop.over_data for loop in flow.outlived_loops(keep))


RULE = Rule("MD103", "output-kept-on-device", Severity.INFO, check)
