"""A loss is summed or collected over iterations with its autograd graph.

What is kept refers to the graph of every iteration, so none of them can be released. How much that costs depends on
backward. After `loss.backward()` the activations are gone and what stays is a chain of graph nodes: host memory grows
every iteration, the card by one small block. Without a backward on it (evaluation with gradients on, a second loss,
`retain_graph=True`) the inputs and all activations of every iteration stay on the card.

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

Does not see: a meter or a loss function in another file; values that go through containers of containers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._graph_flow import Flow, Keep
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source
from memdoctor.rules._summaries import role_of
from memdoctor.rules._values import Kind, Role, State, Value, ancestors


def check(source: Source) -> Iterator[Finding]:
    """Report each accumulator that keeps a proven graph over iterations and is never backwarded itself."""
    for flow in source.flows():
        for keep in flow.keeps:
            if _is_loss(flow, keep) and _piles_up(flow, keep):
                yield _finding(source, flow, keep)


def _is_loss(flow: Flow, keep: Keep) -> bool:
    if flow.state(keep.item) is not State.YES:
        return False
    return keep.is_sum or role_of(flow, [keep.item]) is Role.LOSS


def _piles_up(flow: Flow, keep: Keep) -> bool:
    if keep.path in flow.capped or keep.value in flow.backwarded:
        return False
    return any(flow.trains(loop) or (loop.over_data and _has_fresh_forward(flow, keep, loop))
               for loop in flow.outlived_loops(keep))


def _has_fresh_forward(flow: Flow, keep: Keep, loop: object) -> bool:
    made_of = ancestors([keep.item])
    return any(value.kind is Kind.SOURCE and loop in value.loops for value in made_of)


def _finding(source: Source, flow: Flow, keep: Keep) -> Finding:
    freed = _is_backwarded(flow, keep.item)
    kept = f"`{keep.path}` keeps the graph of `{shown(keep.added)}` of every iteration"
    if freed:
        cost = "its backward() frees the activations, but the graph's nodes stay: host memory grows, the GPU slowly"
    else:
        cost = "no backward() frees it, so all activations of every iteration stay on the GPU"
    return RULE.finding(
        source, keep.node, f"{kept}; {cost}.",
        variable=keep.path,
        advice=_advice(keep),
        severity=Severity.WARNING if freed else Severity.ERROR,
        confidence=Confidence.MEDIUM if _needs_summary(keep.item) else Confidence.HIGH,
    )


def _is_backwarded(flow: Flow, item: Value) -> bool:
    """Its graph was freed: by a backward here, or in the function that returned it."""
    begins = {value for value in ancestors([item]) if value.kind is Kind.SOURCE or value in flow.proven}
    return _needs_summary(item) or not begins.isdisjoint(flow.backwarded)


def _needs_summary(item: Value) -> bool:
    return any(value.from_summary for value in ancestors([item]))


def _advice(keep: Keep) -> Advice:
    is_plain = isinstance(keep.added, ast.Name) and keep.path.isidentifier()
    what = shown(keep.added)
    text = f"Keep the number: `{what}.detach()`, or `{what}.item()` if it goes to the host anyway."
    return Advice(text, Applicability.SAFE if is_plain else Applicability.UNSAFE)


RULE = Rule("MD101", "loss-kept-with-graph", Severity.ERROR, check)
