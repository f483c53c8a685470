"""Outputs of a model are collected over iterations with their autograd graph.

What a model returns refers to the graph of its forward. A list of outputs therefore keeps more than the outputs: in
training, where backward has released the activations, the graph's nodes; in an evaluation with gradients on, the
activations of every layer for the whole data set.

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

Does not see: outputs that are collected by a function or class of another file.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._edits import after, takes_suffix, without_gradients
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._keeping import has_had_backward, is_freed, kept_outputs, needs_summary
from memdoctor.rules._meters import graphs_given
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source
from memdoctor.rules._summaries import role_of
from memdoctor.rules._values import Role


def check(source: Source) -> Iterator[Finding]:
    """Report each container that collects outputs with a proven graph."""
    for flow in source.flows():
        for keep in kept_outputs(source, flow):
            freed = is_freed(flow, keep.item)
            yield _finding(source, keep, freed, needs_summary(keep.item), _advice(source, flow, keep))
        for keep in flow.keeps if not source.is_test else ():
            calls = list(_freed_by_calls(source, flow, keep))
            if calls:
                yield _finding(source, keep, all(calls), True, _cut(source, keep))


def _freed_by_calls(source: Source, flow: Flow, keep: Keep) -> Iterator[bool]:
    """For each call that puts an output into it: was the backward of its graph run?"""
    if keep.is_sum or role_of(flow, [keep.item]) is Role.LOSS:
        return
    for caller, given in graphs_given(source, flow, keep):
        if role_of(caller, [given]) is Role.OUTPUT:
            yield is_freed(caller, given)


def _finding(source: Source, keep: Keep, freed: bool, from_summary: bool, advice: Advice) -> Finding:
    if freed:
        cost = "the outputs of every iteration stay on the GPU, and their graph's nodes in host memory"
    else:
        cost = "gradients are on, so the activations of every iteration stay on the GPU with them"
    return RULE.finding(
        source, keep.node, f"`{keep.name}` keeps `{shown(keep.added)}` with its graph; {cost}.",
        variable=keep.name,
        advice=advice,
        confidence=Confidence.MEDIUM if from_summary else Confidence.HIGH,
    )


def _advice(source: Source, flow: Flow, keep: Keep) -> Advice:
    if not has_had_backward(flow, keep.item) and not flow.runs_backward and flow.scope.name:
        return Advice(f"Put `@torch.no_grad()` above `def {flow.scope.name}`, and keep `.cpu()` of it.",
                      Applicability.UNSAFE, without_gradients(source, flow.scope))
    return _cut(source, keep)


def _cut(source: Source, keep: Keep) -> Advice:
    edits = (after(source, keep.added, ".detach().cpu()"),) if takes_suffix(keep.added) else ()
    return Advice("Keep `.detach().cpu()` of it.", Applicability.UNSAFE, edits)


RULE = Rule("MD102", "output-kept-with-graph", Severity.ERROR, check)
