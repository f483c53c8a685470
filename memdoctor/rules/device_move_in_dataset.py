"""A data set or collate function moves its samples to the GPU.

With worker processes, each of them needs a CUDA context of its own, some hundred MiB of the card, and forked ones fail.
Prefetched batches wait on the card instead of in host memory, and nothing can overlap the copy with computation.

Bad::

    class Images(torch.utils.data.Dataset):
        def __getitem__(self, index):
            return self.images[index].cuda()

Good::

    class Images(torch.utils.data.Dataset):
        def __getitem__(self, index):
            return self.images[index]

    for images in loader:
        model(images.cuda(non_blocking=True))

Does not see: a function that `__getitem__` calls; a data set whose base class has a name that says nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Finding, Severity
from memdoctor.rules._arguments import argument_of, moves_to_gpu
from memdoctor.rules._names import last_name, shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_DATASET_BASES = re.compile(r"\w*(Dataset|ImageFolder|DatasetFolder)", re.IGNORECASE)


def check(source: Source) -> Iterator[Finding]:
    """Report the first move in each function that makes samples or batches."""
    if source.is_test or not source.calls.keys() & {"cuda", "to"}:
        return
    makers = [(scope.name, list(scope.own_nodes())) for scope in source.scopes if _makes_samples(source, scope)]
    for name, nodes in [*makers, *_collating_lambdas(source)]:
        moves = [node for node in nodes if isinstance(node, ast.Call) and moves_to_gpu(node)]
        if moves:
            yield _finding(source, min(moves, key=lambda node: (node.lineno, node.col_offset)), name)


def _makes_samples(source: Source, scope: Scope) -> bool:
    if scope.name == "__getitem__" and scope.owner is not None:
        return any(_DATASET_BASES.fullmatch(base) for base in scope.owner.bases)
    is_collator = scope.name == "__call__" and scope.owner is not None and "collat" in scope.owner.node.name.lower()
    return is_collator or "collate" in scope.name.lower() or scope.name in _passed_as_collate(source)


def _passed_as_collate(source: Source) -> set[str]:
    given = [argument_of(call, "collate_fn") for call, _ in source.calls.get("DataLoader", [])]
    return {last_name(function) for function in given if function is not None} - {""}


def _collating_lambdas(source: Source) -> Iterator[tuple[str, list[ast.AST]]]:
    for call, _ in source.calls.get("DataLoader", []):
        function = argument_of(call, "collate_fn")
        if isinstance(function, ast.Lambda):
            yield "collate_fn", list(ast.walk(function.body))


def _finding(source: Source, move: ast.Call, name: str) -> Finding:
    return RULE.finding(
        source, move,
        f"`{name}` moves samples to the GPU: every worker process makes a context there, and prefetched batches wait"
        " on the card.",
        variable=shown(move),
        advice=Advice("Return host tensors, and move the batch in the training loop."),
    )


RULE = Rule("MD302", "device-move-in-dataset", Severity.WARNING, check)
