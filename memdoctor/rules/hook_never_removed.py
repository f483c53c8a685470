"""A hook is registered again in every iteration, or a hook collects tensors that nobody lets go.

A hook stays on its module until `remove()` is called on the handle that the registration returned. Registered in a
loop, a thousand of them run in every forward after a thousand iterations, each with what it closes over. A hook that
appends what it is given keeps the activations of every forward, with their graph.

Bad::

    for x, y in loader:
        model.encoder.register_forward_hook(show)
        model(x)

Good::

    for x, y in loader:
        handle = model.encoder.register_forward_hook(show)
        model(x)
        handle.remove()

Does not see: a registration in a function of another file; a handle that is forgotten in a file which removes others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.rules._hooks import collected_by_hook
from memdoctor.rules._names import shown
from memdoctor.rules._registrations import MODULE_HOOKS, TENSOR_HOOKS, is_piling_up
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report registrations without a handle in a loop over data, and hooks that append to what is never cleared."""
    if source.is_test:
        return
    for call, scope in [found for name in (*MODULE_HOOKS, *TENSOR_HOOKS) for found in source.calls.get(name, [])]:
        if is_piling_up(source, call, scope):
            yield _piling_up(source, call)
        elif isinstance(call.func, ast.Attribute) and call.func.attr in MODULE_HOOKS:
            for kept in collected_by_hook(source, call, scope):
                yield _collecting(source, kept)


def _piling_up(source: Source, call: ast.Call) -> Finding:
    return RULE.finding(
        source, call,
        f"`{shown(call.func)}` runs in every iteration and the hook is never removed: hooks pile up.",
        advice=Advice("Register once before the loop, or keep the handle and call `remove()`."),
        confidence=Confidence.MEDIUM,
    )


def _collecting(source: Source, kept: ast.Call) -> Finding:
    holder = shown(kept.func.value) if isinstance(kept.func, ast.Attribute) else ""
    return RULE.finding(
        source, kept,
        f"The hook appends `{shown(kept.args[0])}` in every forward, and nothing empties `{holder}`.",
        variable=holder,
        advice=Advice("Keep `.detach()` of it, and clear the list after each use."),
        confidence=Confidence.MEDIUM,
    )


RULE = Rule("MD106", "hook-never-removed", Severity.WARNING, check)
