"""`torch.cuda.empty_cache()` runs in every iteration.

It frees nothing that is in use: it returns cached blocks to the driver, which waits for the card to finish, and the
next iteration asks the driver for the same blocks again. Training becomes slower and the peak stays.

Bad::

    for x, y in loader:
        criterion(model(x), y).backward()
        optimizer.step()
        torch.cuda.empty_cache()

Good::

    for x, y in loader:
        criterion(model(x), y).backward()
        optimizer.step()

Does not see: a call in a function of another file that the loop calls.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Severity
from memdoctor.rules._edits import deletion
from memdoctor.rules._loops import is_over_data, is_training_call
from memdoctor.rules._names import identifiers
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_EVERY_STEP = frozenset(
    {"forward", "backward", "training_step", "validation_step", "optimize_parameters", "train_step"}
)
_ONCE_IN_A_WHILE = (ast.If, ast.ExceptHandler, ast.IfExp)


def check(source: Source) -> Iterator[Finding]:
    """Report calls that run unconditionally in a loop over batches or in a function that runs every step."""
    for call, scope in source.calls.get("empty_cache", []):
        if source.imports.resolve(call.func).startswith("torch") and _runs_every_iteration(source, call, scope):
            yield RULE.finding(
                source, call,
                "`empty_cache()` runs in every iteration: it frees nothing that is in use, waits for the GPU, and makes"
                " the next iteration allocate again.",
                advice=Advice("Delete this line.", Applicability.SAFE, deletion(source, source.parents[call])),
            )


def _runs_every_iteration(source: Source, call: ast.Call, scope: Scope) -> bool:
    for node in source.around(call, scope):
        if isinstance(node, _ONCE_IN_A_WHILE):
            return False
        if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            return _is_over_batches(source, node)
    return scope.owner is not None and scope.name in _EVERY_STEP


def _is_over_batches(source: Source, loop: ast.For | ast.AsyncFor | ast.While) -> bool:
    """A loop over epochs, folds or experiments has the loop over batches inside, or its name says so."""
    inside = [node for statement in loop.body for node in ast.walk(statement)]
    if any(isinstance(node, ast.For) and is_over_data(node.iter) for node in inside):
        return False
    calls = [node for node in inside if isinstance(node, ast.Call)]
    if isinstance(loop, ast.While):
        return any(is_training_call(call) for call in calls)
    by_name = is_over_data(loop.iter) or any(source.is_model(call.func) for call in calls)
    return by_name and not any("epoch" in name.lower() for name in _names(loop))


def _names(loop: ast.For | ast.AsyncFor) -> Iterator[str]:
    yield from identifiers(loop.iter)
    yield from identifiers(loop.target)


RULE = Rule("MD401", "empty-cache-in-loop", Severity.INFO, check)
