"""A whole split of the data is moved to the GPU before training.

It stays there for the whole run beside model and activations. That is right for small data and for a graph that is
used whole; with images it takes the room that a larger batch could use.

Bad::

    train_images = torch.from_numpy(images).to(device)

Good::

    train_images = torch.from_numpy(images)
    for batch in train_images.split(64):
        model(batch.to(device))

Does not see: how large the data are; it goes by names, and is shown only when asked for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.rules._arguments import moves_to_gpu
from memdoctor.rules._keeping import is_evaluation
from memdoctor.rules._names import last_name, path_of, shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_SPLIT_NAME = re.compile(
    r"(\w*_)?(train|dev|val|valid|test)_?(x|data|set|images?|inputs?|features?)|x_?(train|dev|val|valid|test)",
    re.IGNORECASE,
)
_MAKERS = frozenset({"from_numpy", "tensor", "as_tensor", "FloatTensor", "Tensor", "load"})
_GRAPH_PACKAGES = frozenset({"dgl", "torch_geometric", "torch_sparse"})


def check(source: Source) -> Iterator[Finding]:
    """Report assignments outside loops that make a tensor of a split and move it."""
    if source.is_test or source.imports.packages & _GRAPH_PACKAGES:
        return
    for call, scope in [*source.calls.get("to", []), *source.calls.get("cuda", [])]:
        name = _split_name(source, call) if moves_to_gpu(call) and _makes_tensor(call) else ""
        if name and not _is_part_of_run(source, call, scope):
            yield RULE.finding(
                source, call,
                f"`{name}` is moved to the GPU whole and stays there for the run.",
                variable=name,
                advice=Advice("Move one batch at a time."),
                confidence=Confidence.LOW,
            )


def _split_name(source: Source, call: ast.Call) -> str:
    parent = source.parents[call]
    target = parent.targets[0] if isinstance(parent, ast.Assign) else None
    name = last_name(target) if target is not None and path_of(target) is not None else ""
    return shown(target) if target is not None and _SPLIT_NAME.fullmatch(name) else ""


def _makes_tensor(call: ast.Call) -> bool:
    return any(last_name(node.func) in _MAKERS for node in ast.walk(call) if isinstance(node, ast.Call))


def _is_part_of_run(source: Source, call: ast.Call, scope: Scope) -> bool:
    """In a loop, or in a function that is given what it evaluates."""
    in_loop = any(isinstance(node, (ast.For, ast.While)) for node in source.around(call, scope))
    return in_loop or is_evaluation(scope.name)


RULE = Rule("MD303", "dataset-on-device", Severity.INFO, check)
