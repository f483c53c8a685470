"""What an autograd graph keeps alive, read without running anything of the user's and without keeping anything.

A saved tensor that a `saved_tensors_hooks` has packed is handed out as it was packed: unpacking it would run the
user's hook, which may allocate or recompute.

Graphs may be 100,000 nodes deep, hence no recursion, and hence a limit: a C++ node that Python has once seen is later
destroyed through its Python object, recursively. A chain of 100,000 such nodes overflows 8 MiB of stack (torch 2.13).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from memdoctor.sensing.packing import PackingCalls

MAX_NODES = 200_000
"""About a third of a second of walking."""
MAX_DEPTH = 2_000
"""Safe on the stack of 512 KiB that threads have on macOS; the head of a chain, its youngest part, is what is seen."""


@dataclass
class Held:
    """What a walk met for the first time."""

    nodes: int = 0
    oldest: int | None = None
    """Autograd's number of the oldest of them; a later node has a larger one."""
    objects: list[object] = field(default_factory=list)
    """Saved tensors, packed objects, and what a custom function keeps on its `ctx`; drop them soon."""


class GraphWalk:
    """Walks graphs that share nodes, each node once.

    It holds the nodes until it dies: the Python wrapper of a C++ node has no life of its own, and its `id` would be
    reused within one walk.
    """

    def __init__(self, max_nodes: int = MAX_NODES) -> None:
        self._seen: dict[int, object] = {}
        self._max_nodes = max_nodes
        self.complete = True
        """False if a limit ended a walk: what was found is a lower bound."""

    def walk(self, grad_fn: Any) -> Held:
        """Everything behind `grad_fn` that no earlier walk has seen."""
        held = Held()
        waiting = [(grad_fn, 0)]
        while waiting:
            node, depth = waiting.pop()
            if id(node) in self._seen:
                continue
            if len(self._seen) >= self._max_nodes:
                self.complete = False
                break
            self._seen[id(node)] = node
            held.nodes += 1
            number = node._sequence_nr()
            held.oldest = number if held.oldest is None else min(held.oldest, number)
            held.objects.extend(_kept_by(node))
            if depth < MAX_DEPTH:
                waiting += [(following, depth + 1) for following, _ in node.next_functions if following is not None]
            else:
                self.complete = False
        return held


def _kept_by(node: Any) -> Iterator[object]:
    kind: type = type(node)
    for name in _saved_names(kind):
        yield from _saved(node, name)
    if isinstance(node, torch.autograd.function.FunctionCtx):
        yield from vars(node).values()
    variable = getattr(node, "variable", None) if kind.__name__ == "AccumulateGrad" else None
    if variable is not None and variable.grad is not None and variable.grad.grad_fn is not None:
        yield variable


@functools.cache
def _saved_names(kind: type) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))


def _saved(node: Any, name: str) -> Iterator[object]:
    """One saved value of a node: nothing once backward has freed it, which some nodes say by raising."""
    try:
        raw = getattr(node, name)
        for each in raw if isinstance(raw, (tuple, list)) else (raw,):
            if hasattr(each, "data"):
                value = each.data
            else:
                value = None if PackingCalls.were_seen else getattr(node, name.replace("_raw", "", 1))
            if value is not None:
                yield value
    except RuntimeError:
        return
