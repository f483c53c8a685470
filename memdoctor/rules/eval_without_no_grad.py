"""A model is evaluated with gradients on.

`model.eval()` changes dropout and batch norm only. Each forward still builds a graph that keeps the activations until
its outputs die, so the peak is that of training instead of a fraction of it; with the larger batches of evaluation it
is what kills a run as soon as validation starts. In a sampling loop that feeds the state back, the graphs of all steps
are chained.

Bad::

    def validate(model, loader):
        model.eval()
        hits = 0
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
        return hits

Good::

    @torch.no_grad()
    def validate(model, loader):
        model.eval()
        hits = 0
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
        return hits

Does not see: a model behind a name that says nothing, a caller in another file that switches gradients off.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePath

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._callers import callers_only_read, calls_of
from memdoctor.rules._edits import decorated
from memdoctor.rules._grad_mode import is_switched_by_statement, volatile_uses
from memdoctor.rules._graph_flow import Flow, Forward
from memdoctor.rules._keeping import is_evaluation, is_over_held_out_data, kept_outputs
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source
from memdoctor.rules._values import State, ancestors


def check(source: Source) -> Iterator[Finding]:
    """Report the first evaluation forward of each function that runs with gradients on."""
    if source.is_test or is_switched_by_statement(source):
        return
    reported = volatile_uses(source)
    for flow in source.flows():
        if flow.scope in reported:
            continue
        forward = next((forward for forward in flow.forwards if _is_wasteful(source, flow, forward)), None)
        if forward is not None and not _is_elsewhere_decided(source, flow):
            yield _finding(flow, forward, source)


def _is_elsewhere_decided(source: Source, flow: Flow) -> bool:
    """By the caller, by hand, or it is a finding of MD102 already, whose message says both."""
    return flow.scope.others_decide or _wants_gradients(flow.scope) or any(kept_outputs(source, flow))


def _wants_gradients(scope: Scope) -> bool:
    """It differentiates its inputs, or has switched the parameters' gradients off by hand."""
    names = {"requires_grad", "requires_grad_", "enable_grad", "set_requires_grad"}
    for node in scope.own_nodes():
        if isinstance(node, ast.Attribute) and node.attr in names or isinstance(node, ast.Name) and node.id in names:
            return True
    return False


def _is_wasteful(source: Source, flow: Flow, forward: Forward) -> bool:
    if forward.grad_off or any(loop.trains for loop in forward.loops[-1:]) or flow.is_backwarded(forward):
        return False
    if any(is_over_held_out_data(loop) for loop in forward.loops):
        return not any(loop.trains and is_over_held_out_data(loop) for loop in forward.loops)
    if flow.runs_backward:
        return bool(forward.evaluates) and forward.of_same_model
    if forward.evaluates is None:
        name = flow.scope.name or PurePath(source.path).stem
        return is_evaluation(name) and (not _is_returned(flow, forward) or callers_only_read(source, flow.scope))
    return forward.evaluates and not any(call.value in other.backwarded for other, call in calls_of(source, flow.scope))


def _is_returned(flow: Flow, forward: Forward) -> bool:
    """The caller gets it, with its graph: as the result, or in a container that was there before."""
    given = [*flow.returns, *(keep.item for keep in flow.keeps if flow.begins_outside(keep))]
    return forward.value in ancestors(value for value in given if flow.state(value) is not State.NO)


def _finding(flow: Flow, forward: Forward, source: Source) -> Finding:
    where = f"`{flow.scope.name}`" if flow.scope.name else "This script"
    once = flow.scope.name in ("", "main") and not forward.loops
    model = shown(forward.node.func)
    return RULE.finding(
        source, forward.node,
        f"{where} evaluates `{model}` with gradients on: every forward builds a graph and keeps its activations,"
        " so the peak is that of training.",
        variable=model,
        advice=_advice(source, flow),
        severity=Severity.INFO if once else Severity.WARNING,
        confidence=_confidence(flow, forward),
    )


def _confidence(flow: Flow, forward: Forward) -> Confidence:
    """High after `.eval()`, for what runs often: a single forward may be a warm-up or an export."""
    runs_often = bool(forward.loops) or is_evaluation(flow.scope.name)
    return Confidence.HIGH if forward.evaluates and runs_often else Confidence.MEDIUM


def _advice(source: Source, flow: Flow) -> Advice:
    if flow.scope.name and not flow.runs_backward:
        edits = decorated(source, flow.scope.node, "@torch.no_grad()") if _knows_torch(source) else ()
        return Advice(f"Put `@torch.no_grad()` above `def {flow.scope.name}`.", Applicability.UNSAFE, edits)
    return Advice("Put the evaluation into `with torch.no_grad():`.", Applicability.UNSAFE)


def _knows_torch(source: Source) -> bool:
    """The module is imported under its own name, at the top of the file."""
    imported = [alias for node in source.tree.body if isinstance(node, ast.Import) for alias in node.names]
    return any(alias.asname is None and alias.name.split(".")[0] == "torch" for alias in imported)


RULE = Rule("MD201", "eval-without-no-grad", Severity.WARNING, check)
