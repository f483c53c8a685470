"""`backward(retain_graph=True)` keeps the activations, and no second backward uses them.

A plain backward frees the activations while it runs, so nothing of them is left when the optimizer steps. Retained,
they stay until the loss is assigned anew: through the optimizer's step and the whole next forward, and at the peak two
graphs lie on the card.

Bad::

    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward(retain_graph=True)
        optimizer.step()

Good::

    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()

Does not see: a second backward in another function; it says nothing where there may be one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._arguments import says
from memdoctor.rules._carried import carried_into
from memdoctor.rules._edits import without_keyword
from memdoctor.rules._graph_flow import Backward, Flow
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source
from memdoctor.rules._values import Kind, State, ancestors

_KEYWORDS = ("retain_graph", "retain_variables")


def check(source: Source) -> Iterator[Finding]:
    """Report a retained backward that is the only one on a graph made in the same iteration."""
    for flow in source.flows() if not source.is_test else ():
        for backward in flow.backwards:
            if _is_retained(backward) and _is_alone(source, flow, backward) and _is_fresh(flow, backward):
                yield RULE.finding(
                    source, backward.node,
                    "The graph is retained and nothing runs a second backward on it: its activations stay through the"
                    " optimizer's step and the next forward.",
                    advice=_advice(source, backward),
                    confidence=Confidence.MEDIUM,
                )


def _advice(source: Source, backward: Backward) -> Advice:
    """Unsafe: a second backward that cannot be seen from here would raise."""
    edits = without_keyword(source, backward.node, _keyword(backward))
    return Advice(f"Leave `{_keyword(backward)}=True` out.", Applicability.UNSAFE, edits)


def _keyword(backward: Backward) -> str:
    return next((name for name in _KEYWORDS if says(backward.node, name, True)), "")


def _is_retained(backward: Backward) -> bool:
    is_method = isinstance(backward.node.func, ast.Attribute) and backward.node.func.attr == "backward"
    return is_method and bool(_keyword(backward)) and not says(backward.node, "create_graph", True)


def _is_alone(source: Source, flow: Flow, backward: Backward) -> bool:
    """No other backward here, in a function that is called here, or in another method of the class."""
    if len({other.node for other in flow.backwards}) > 1 or any(call.trains for call in flow.calls):
        return False
    owner = flow.scope.owner
    methods = owner.methods.values() if owner is not None else []
    others = [source.flow(method) for method in methods if method is not flow.scope]
    return not any(other is not None and other.runs_backward for other in others)


def _is_fresh(flow: Flow, backward: Backward) -> bool:
    """Its whole graph is made in the iteration, and neither returned nor brought by the last iteration."""
    made_of = ancestors([backward.operand])
    graphs = {value for value in made_of if flow.state(value) is State.YES and value.kind is not Kind.LOOP}
    if backward.operand.kind is Kind.OUTSIDE or graphs & ancestors(flow.returns):
        return False
    if any(value.loops[:len(backward.loops)] != backward.loops for value in graphs):
        return False
    return not any(carried_into(flow, forward) for forward in flow.forwards)


RULE = Rule("MD202", "retain-graph-without-use", Severity.WARNING, check)
