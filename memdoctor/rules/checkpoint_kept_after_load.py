"""A checkpoint that was loaded to the GPU is still alive while the model is trained.

`load_state_dict` copies. The dictionary it copied from keeps a second set of weights, and of optimizer state if it has
that, on the card for the whole training.

Bad::

    checkpoint = torch.load("last.pt", map_location=device)
    model.load_state_dict(checkpoint["model"])
    for x, y in loader:
        criterion(model(x), y).backward()

Good::

    checkpoint = torch.load("last.pt", map_location="cpu")
    model.load_state_dict(checkpoint["model"])
    for x, y in loader:
        criterion(model(x), y).backward()

Does not see: training in another file that is called from here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.rules._arguments import argument_of
from memdoctor.rules._edits import instead
from memdoctor.rules._loops import is_training_call
from memdoctor.rules._names import last_name, path_of, root_of
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report loads to a device whose name is neither deleted nor set anew before the training loop."""
    for call, scope in source.calls.get("load", []) if not source.is_test else ():
        if source.imports.resolve(call.func) == "torch.load" and _is_to_device(call):
            parent = source.parents[call]
            name = path_of(parent.targets[0]) if isinstance(parent, ast.Assign) else None
            if name is not None and name.isidentifier() and _lives_on(source, scope, call, name):
                yield _finding(source, call, name)


def _is_to_device(call: ast.Call) -> bool:
    place = argument_of(call, "map_location", 1)
    if place is None or isinstance(place, ast.Lambda):
        return False
    return not any(isinstance(node, ast.Constant) and node.value in ("cpu", None) for node in ast.walk(place))


def _lives_on(source: Source, scope: Scope, load: ast.Call, name: str) -> bool:
    later = [node for node in scope.own_nodes() if getattr(node, "lineno", 0) > load.lineno]
    loops = [node.lineno for node in later if isinstance(node, (ast.For, ast.While)) and _trains(source, scope, node)]
    used = [node for node in later if isinstance(node, ast.Call) and _loads_state_from(node, name)]
    if not loops or not used:
        return False
    return not any(_ends(node, name) for node in later if getattr(node, "lineno", 0) < min(loops))


def _trains(source: Source, scope: Scope, loop: ast.For | ast.While) -> bool:
    calls = [node for node in ast.walk(loop) if isinstance(node, ast.Call)]
    return any(is_training_call(call) or _callee_trains(source, scope, call) for call in calls)


def _callee_trains(source: Source, scope: Scope, call: ast.Call) -> bool:
    callee = source.callee(call, scope)
    flow = source.flow(callee) if callee is not None else None
    return flow is not None and flow.runs_backward


def _loads_state_from(call: ast.Call, name: str) -> bool:
    if last_name(call.func) != "load_state_dict" or not call.args:
        return False
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(call.args[0]))


def _ends(node: ast.AST, name: str) -> bool:
    """`del checkpoint`, or the name stands for something else from here on."""
    targets = node.targets if isinstance(node, (ast.Delete, ast.Assign)) else []
    return any(path_of(target) == name == root_of(name) for target in targets)


def _finding(source: Source, call: ast.Call, name: str) -> Finding:
    return RULE.finding(
        source, call,
        f"`{name}` is loaded to the GPU and lives on through the training: a second copy of weights and optimizer"
        " state.",
        variable=name,
        advice=_advice(source, call, name),
        confidence=Confidence.MEDIUM,
    )


def _advice(source: Source, call: ast.Call, name: str) -> Advice:
    """Unsafe: what else is read from the checkpoint is then on the host."""
    place = argument_of(call, "map_location", 1)
    edits = (instead(source, place, '"cpu"'),) if place is not None else ()
    return Advice(f'Load with `map_location="cpu"`, or `del {name}` before training.', Applicability.UNSAFE, edits)


RULE = Rule("MD307", "checkpoint-kept-after-load", Severity.INFO, check)
