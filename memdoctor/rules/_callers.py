"""The calls of a function in its own file, and what becomes of its result there."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.rules._graph_flow import Flow, LocalCall
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source
from memdoctor.rules._values import ancestors


def calls_of(source: Source, callee: Scope) -> Iterator[tuple[Flow, LocalCall]]:
    """Each call, with the flow that it stands in."""
    for caller in source.flows():
        for call in caller.calls:
            if call.callee is callee:
                yield caller, call


def callers_only_read(source: Source, callee: Scope) -> bool:
    """It is called in this file, and no caller backwards the result or hands it on."""
    calls = list(calls_of(source, callee))
    return bool(calls) and not any(
        call.value in caller.backwarded or call.value in ancestors(caller.returns) for caller, call in calls
    )
