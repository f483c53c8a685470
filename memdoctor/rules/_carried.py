"""State that a loop carries round: what one iteration computes and the next puts into its forward, with its graph."""

from __future__ import annotations

from memdoctor.rules._graph_flow import Flow, Forward
from memdoctor.rules._values import Kind, Value, ancestors

_UNCERTAIN = frozenset({Kind.OPAQUE, Kind.JOIN, Kind.CUT})


def carried_into(flow: Flow, forward: Forward) -> str | None:
    """The state of the last iteration that a forward takes in, if each iteration runs its own backward on it.

    A cut on any path, a branch, or a function that is not known is taken for a detach.
    """
    if not forward.loops or forward.value not in flow.backwarded:
        return None
    loop = forward.loops[-1]
    if not any(backward.loops[-1:] == (loop,) for backward in flow.backwards):
        return None
    for value in forward.value.inputs:
        for (head_loop, path), head in flow.heads.items():
            if head_loop is loop and head in ancestors([value], _UNCERTAIN) and _comes_round(head, forward.value):
                return path
    return None


def _comes_round(head: Value, result: Value) -> bool:
    """The state was set before the loop, and the end of an iteration leaves the forward's result in it."""
    before, *after = head.inputs
    return before.kind is not Kind.OUTSIDE and bool(after) and all(
        result in ancestors([value], _UNCERTAIN) for value in after
    )
