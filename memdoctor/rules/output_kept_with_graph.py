"""Outputs of a model are collected over iterations with their autograd graph.

The list keeps every output on the card, and with it what its graph still holds. In training, backward has released
the activations, so the outputs themselves and the graph's nodes pile up. In an evaluation with gradients on, the list
keeps the whole graph of the whole data set.

Bad::

    for x, y in train_loader:
        scores = model(x)
        criterion(scores, y).backward()
        all_scores.append(scores)

Good::

    for x, y in train_loader:
        scores = model(x)
        criterion(scores, y).backward()
        all_scores.append(scores.detach().cpu())

Does not see: outputs that are collected in another file, or in a method that is called once per iteration.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._edits import after, takes_suffix, without_gradients
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._keeping import is_freed, kept_outputs, needs_summary
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report each container that collects outputs with a proven graph."""
    for flow in source.flows():
        for keep in kept_outputs(source, flow):
            yield _finding(source, flow, keep)


def _finding(source: Source, flow: Flow, keep: Keep) -> Finding:
    if is_freed(flow, keep.item):
        cost = "the outputs of every iteration stay on the GPU, and their graph's nodes in host memory"
    else:
        cost = "gradients are on, so the activations of every iteration stay on the GPU with them"
    return RULE.finding(
        source, keep.node, f"`{keep.name}` keeps `{shown(keep.added)}` with its graph; {cost}.",
        variable=keep.name,
        advice=_advice(source, flow, keep),
        confidence=Confidence.MEDIUM if needs_summary(keep.item) else Confidence.HIGH,
    )


def _advice(source: Source, flow: Flow, keep: Keep) -> Advice:
    if not is_freed(flow, keep.item) and not flow.runs_backward and flow.scope.name:
        return Advice(f"Put `@torch.no_grad()` above `def {flow.scope.name}`, and keep `.cpu()` of it.",
                      Applicability.UNSAFE, without_gradients(source, flow.scope))
    edits = (after(source, keep.added, ".detach().cpu()"),) if takes_suffix(keep.added) else ()
    return Advice("Keep `.detach().cpu()` of it.", Applicability.UNSAFE, edits)


RULE = Rule("MD102", "output-kept-with-graph", Severity.ERROR, check)
