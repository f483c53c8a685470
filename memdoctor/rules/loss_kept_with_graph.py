"""A loss is summed or collected over iterations with its autograd graph.

A loss refers to its graph: the record of every operation that led to it, with the activations that backward needs. A
sum or list that outlives the iteration keeps the graph of each iteration, and none of them can be released.

How much that costs depends on backward. After `loss.backward()` the activations are gone and what stays is a chain of
graph nodes: host memory grows every iteration, the card by one small block. Without a backward on it (an evaluation
with gradients on, a second loss, `retain_graph=True`) the inputs and all activations of every iteration stay on the
card, until it is full.

Bad::

    with_grad = 0
    for x, y in validation_loader:
        with_grad += criterion(model(x), y)

    for x, y in train_loader:
        loss = criterion(model(x), y)
        loss.backward()
        history.append(loss)

Good::

    total = 0.0
    for x, y in validation_loader:
        with torch.no_grad():
            total += criterion(model(x), y).item()

    for x, y in train_loader:
        loss = criterion(model(x), y)
        loss.backward()
        history.append(loss.detach())

Does not see: a meter or a loss function in another file; an object that is not called `self` in its own methods.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._edits import after, takes_suffix
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._keeping import carries_loss, growing_loops, is_freed, needs_summary
from memdoctor.rules._meters import graphs_given
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source
from memdoctor.rules._steps import freed_by_calls
from memdoctor.rules._summaries import role_of
from memdoctor.rules._values import Role


def check(source: Source) -> Iterator[Finding]:
    """Report each accumulator that keeps a proven graph over iterations and is never backwarded itself."""
    for flow in source.flows():
        for keep in flow.keeps:
            if carries_loss(flow, keep) and any(growing_loops(source, flow, keep)):
                yield _finding(source, flow, keep, is_freed(flow, keep.item), needs_summary(keep.item))
                continue
            freed = list(_freed_by_calls(source, flow, keep))
            if freed:
                yield _finding(source, flow, keep, all(freed), True)


def _freed_by_calls(source: Source, flow: Flow, keep: Keep) -> Iterator[bool]:
    """For each way in which calls of this function make it grow: was the backward of its graphs run?"""
    if carries_loss(flow, keep):
        yield from freed_by_calls(source, flow, keep)
    for caller, given in graphs_given(source, flow, keep):
        if keep.is_sum or Role.LOSS in (role_of(caller, [given]), role_of(flow, [keep.item])):
            yield is_freed(caller, given)


def _finding(source: Source, flow: Flow, keep: Keep, freed: bool, from_summary: bool) -> Finding:
    kept = f"`{keep.name}` keeps the graph of `{shown(keep.added)}` of every iteration"
    if freed:
        cost = "its backward() frees the activations, but the graph's nodes stay: host memory grows, the GPU slowly"
    else:
        cost = "no backward() frees it, so all activations of every iteration stay on the GPU"
    return RULE.finding(
        source, keep.node, f"{kept}; {cost}.",
        variable=keep.name,
        advice=_advice(source, flow, keep),
        severity=Severity.WARNING if freed else Severity.ERROR,
        confidence=Confidence.MEDIUM if from_summary else Confidence.HIGH,
    )


def _advice(source: Source, flow: Flow, keep: Keep) -> Advice:
    """Safe where what is kept is certainly a tensor: `.detach()` of a dictionary of losses would raise."""
    is_tensor = keep.is_sum or keep.item in flow.operands
    is_plain = isinstance(keep.added, ast.Name) and keep.path.isidentifier()
    name = shown(keep.added) if isinstance(keep.added, (ast.Name, ast.Attribute, ast.Subscript)) else ""
    text = f"Keep `{name}.detach()`, or `{name}.item()` if it goes to the host anyway."
    edits = (after(source, keep.added, ".detach()"),) if len(keep.terms) == 1 and takes_suffix(keep.added) else ()
    return Advice(text, Applicability.SAFE if is_plain and is_tensor else Applicability.UNSAFE, edits)


RULE = Rule("MD101", "loss-kept-with-graph", Severity.ERROR, check)
