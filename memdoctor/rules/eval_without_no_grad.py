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

Does not see: a model behind a name that says nothing; a caller in another file that switches gradients off; other
methods of a model, such as `generate`, which often switch them off themselves. Says nothing where a framework runs the
evaluation, where `.numpy()` would raise if there were a graph, and about one forward that only shows a shape.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._edits import without_gradients
from memdoctor.rules._evaluations import wasted
from memdoctor.rules._grad_mode import is_switched_by_statement, volatile_uses
from memdoctor.rules._graph_flow import Flow, Forward, LocalCall
from memdoctor.rules._keeping import is_evaluation, kept_outputs
from memdoctor.rules._names import shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report the first evaluation forward of each function that runs with gradients on."""
    if source.is_test or is_switched_by_statement(source):
        return
    by_volatile = volatile_uses(source)
    for flow in source.flows():
        run = wasted(source, flow) if flow.scope not in by_volatile else None
        if run is not None and not any(kept_outputs(source, flow)):  # else MD102 says both
            yield _finding(flow, run, source)


def _finding(flow: Flow, run: Forward | LocalCall, source: Source) -> Finding:
    where = f"`{flow.scope.name}`" if flow.scope.name else "This script"
    once = flow.scope.name in ("", "main") and not run.loops
    model = shown(run.node.func)
    return RULE.finding(
        source, run.node,
        f"{where} evaluates `{model}` with gradients on: every forward builds a graph and keeps its activations,"
        " so the peak is that of training.",
        variable=model,
        advice=_advice(source, flow),
        severity=Severity.INFO if once else Severity.WARNING,
        confidence=_confidence(flow, run),
    )


def _confidence(flow: Flow, run: Forward | LocalCall) -> Confidence:
    """High after `.eval()`, for what runs often: a single forward may be a warm-up or an export."""
    runs_often = bool(run.loops) or is_evaluation(flow.scope.name)
    is_seen = isinstance(run, Forward) and run.evaluates
    return Confidence.HIGH if is_seen and runs_often else Confidence.MEDIUM


def _advice(source: Source, flow: Flow) -> Advice:
    if flow.scope.name and not flow.runs_backward:
        edits = without_gradients(source, flow.scope)
        return Advice(f"Put `@torch.no_grad()` above `def {flow.scope.name}`.", Applicability.UNSAFE, edits)
    return Advice("Put the evaluation into `with torch.no_grad():`.", Applicability.UNSAFE)


RULE = Rule("MD201", "eval-without-no-grad", Severity.WARNING, check)
