"""A hook is registered again in every iteration, or a hook collects tensors that nobody lets go.

Each registration without a handle stays on the module for good: after a thousand iterations a thousand hooks run in
every forward. A hook that appends what it is given keeps the activations of every forward, with their graph.

Bad::

    for x, y in loader:
        model.encoder.register_forward_hook(show)
        model(x)

Good::

    for x, y in loader:
        handle = model.encoder.register_forward_hook(show)
        model(x)
        handle.remove()

Does not see: a registration in a function of another file; a handle that is kept and forgotten.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.rules._hooks import collected_by_hook
from memdoctor.rules._loops import is_over_data
from memdoctor.rules._names import identifiers, path_of, root_of, shown, targets_of
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_REGISTRATIONS = (
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_backward_hook",
    "register_full_backward_pre_hook",
)


def check(source: Source) -> Iterator[Finding]:
    """Report registrations without a handle in a loop over data, and hooks that append to what is never cleared."""
    if source.is_test:
        return
    for call, scope in [found for name in _REGISTRATIONS for found in source.calls.get(name, [])]:
        if isinstance(source.parents[call], ast.Expr) and _is_repeated(source, call, scope):
            yield RULE.finding(
                source, call,
                f"`{shown(call.func)}` runs in every iteration and its handle is not kept: hooks pile up.",
                advice=Advice("Register once before the loop, or keep the handle and call `remove()`."),
                confidence=Confidence.MEDIUM,
            )
        for kept in collected_by_hook(source, call, scope):
            yield RULE.finding(
                source, kept,
                f"The hook appends `{shown(kept.args[0])}` in every forward, and nothing empties"
                f" `{shown(kept.func.value) if isinstance(kept.func, ast.Attribute) else ''}`.",
                advice=Advice("Keep `.detach()` of it, and clear the list after each use."),
                confidence=Confidence.MEDIUM,
            )


def _is_repeated(source: Source, call: ast.Call, scope: Scope) -> bool:
    """Unconditionally, in a loop over data, on a module that was there before the loop."""
    holder = path_of(call.func.value) if isinstance(call.func, ast.Attribute) else None
    roots = {root_of(holder)} if holder is not None else set()
    for node in source.around(call, scope):
        if isinstance(node, (ast.If, ast.Try)):
            return False
        if isinstance(node, (ast.For, ast.AsyncFor)):
            if is_over_data(node.iter):
                return bool(roots) and not roots & _assigned_in(node)
            if roots & set(identifiers(node.target)):
                roots = set(identifiers(node.iter))
    return False


def _assigned_in(loop: ast.AST) -> set[str]:
    targets = (target for node in ast.walk(loop) if isinstance(node, ast.Assign) for target in node.targets)
    return {root_of(path_of(place) or "") for target in targets for place in targets_of(target)}


RULE = Rule("MD106", "hook-never-removed", Severity.WARNING, check)
