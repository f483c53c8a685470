"""A model is trained with `nn.DataParallel`.

One process drives all cards. Outputs, the loss and the gradients are gathered on the first, so it is full while the
others have room, and the largest batch is what the first card allows.

Bad::

    model = torch.nn.DataParallel(model)
    loss_fn(model(x), y).backward()

Good::

    model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[local_rank])
    loss_fn(model(x), y).backward()

Does not see: whether there is more than one card. Says nothing in demos and evaluations, and where
`DistributedDataParallel` is the other branch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePath

from memdoctor.foundation.findings import Advice, Finding, Severity
from memdoctor.rules._arguments import argument_of
from memdoctor.rules._keeping import is_evaluation
from memdoctor.rules._names import identifiers, path_of, words
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_INFERENCE_WORDS = ("featur", "extract", "export", "convert", "bench")


def check(source: Source) -> Iterator[Finding]:
    """Report each wrap that is not for one device, for an evaluation, or a fall-back."""
    for call, scope in source.calls.get("DataParallel", []) if not source.is_test else ():
        if source.imports.resolve(call.func).startswith("torch.") and not _has_one_device(call):
            if not _only_evaluates(source, call, scope) and not _is_fallback(source, call, scope):
                yield RULE.finding(
                    source, call,
                    "`nn.DataParallel` gathers outputs, loss and gradients on the first GPU, which is full first.",
                    advice=Advice("Train with `DistributedDataParallel`, one process for each GPU."),
                )


def _has_one_device(call: ast.Call) -> bool:
    devices = argument_of(call, "device_ids", 1)
    return isinstance(devices, (ast.List, ast.Tuple)) and len(devices.elts) == 1


def _only_evaluates(source: Source, call: ast.Call, scope: Scope) -> bool:
    names = [PurePath(source.path).stem, scope.name]
    if any(is_evaluation(name) or any(w.startswith(_INFERENCE_WORDS) for w in words(name)) for name in names):
        return True
    put_to_eval = {path_of(evaluated.func.value) for evaluated, caller in source.calls.get("eval", [])
                   if caller is scope and isinstance(evaluated.func, ast.Attribute)}
    wrapped = path_of(call.args[0]) if call.args else None
    return wrapped is not None and wrapped in put_to_eval and "backward" not in source.calls


def _is_fallback(source: Source, call: ast.Call, scope: Scope) -> bool:
    choices = (node for node in source.around(call, scope) if isinstance(node, (ast.If, ast.IfExp)))
    return any("DistributedDataParallel" in identifiers(node) for node in choices)


RULE = Rule("MD304", "data-parallel", Severity.INFO, check)
