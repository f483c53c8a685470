"""Anomaly detection is switched on for the whole program.

It is a tool for finding a NaN. While it is on, every operation of the forward stores the Python traceback it was called
from, and every backward checks each gradient: host memory and time of every step, for nothing once the fault is found.

Bad::

    torch.autograd.set_detect_anomaly(True)

Good::

    with torch.autograd.detect_anomaly():
        train_step(model, batch)

Does not see: a call behind a condition or with a flag; those are meant to be switched.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Severity
from memdoctor.rules._arguments import says
from memdoctor.rules._edits import deletion
from memdoctor.rules._names import identifiers
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report the statement at module level or in `main`, unless the file also switches it off."""
    calls = source.calls.get("set_detect_anomaly", []) if not source.is_test else []
    if any(not says(call, "mode", True, 0) for call, _ in calls):
        return
    for call, scope in calls:
        if scope.name in ("", "main") and _always_runs(source, call, scope):
            yield RULE.finding(
                source, call,
                "Anomaly detection stays on for the whole program: every operation keeps its traceback, every backward"
                " checks every gradient.",
                advice=Advice(
                    "Delete this line once the fault is found.",
                    Applicability.SAFE,
                    deletion(source, source.parents[call]),
                ),
            )


def _always_runs(source: Source, call: ast.Call, scope: Scope) -> bool:
    inside = list(source.around(call, scope))
    return bool(inside) and all(isinstance(node, ast.Expr) or _is_main_guard(node) for node in inside)


def _is_main_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__name__" in identifiers(node.test)


RULE = Rule("MD204", "anomaly-mode-left-on", Severity.WARNING, check)
