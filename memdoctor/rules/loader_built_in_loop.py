"""A data loader with persistent workers is built anew in every epoch, or its iterator is kept.

Persistent workers end only when their loader dies. A new loader starts its processes while the old one's still hold
their copy of the data set and their prefetched batches; a list of iterators keeps them all.

Bad::

    for epoch in range(epochs):
        loader = DataLoader(dataset, num_workers=8, persistent_workers=True)
        train(loader)

Good::

    loader = DataLoader(dataset, num_workers=8, persistent_workers=True)
    for epoch in range(epochs):
        train(loader)

Does not see: a loader that a function of another file makes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.rules._arguments import says
from memdoctor.rules._loops import is_over_data
from memdoctor.rules._names import last_name
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report loaders with persistent workers, or whose iterator is appended, in a loop over epochs or data."""
    for call, scope in source.calls.get("DataLoader", []) if not source.is_test else ():
        if says(call, "persistent_workers", True) or _is_iterator_kept(source, call):
            if _is_in_data_loop(source, call, scope):
                yield RULE.finding(
                    source, call,
                    "This loader is built in every iteration, and the worker processes of the last one are still"
                    " alive then.",
                    advice=Advice("Build it once, before the loop."),
                    confidence=Confidence.MEDIUM,
                )


def _is_iterator_kept(source: Source, loader: ast.Call) -> bool:
    """`iterators.append(iter(DataLoader(...)))`."""
    iterator = source.parents[loader]
    if not isinstance(iterator, ast.Call) or last_name(iterator.func) != "iter":
        return False
    keeper = source.parents[iterator]
    return isinstance(keeper, ast.Call) and last_name(keeper.func) == "append"


def _is_in_data_loop(source: Source, call: ast.Call, scope: Scope) -> bool:
    for node in source.around(call, scope):
        if isinstance(node, ast.If):
            return False
        if isinstance(node, (ast.For, ast.AsyncFor)):
            return is_over_data(node.iter)
    return False


RULE = Rule("MD501", "loader-built-in-loop", Severity.INFO, check)
