"""Which nodes of a graph run first in backward, where some of them were made in an earlier backward.

Of nodes that are ready, autograd runs the one with the highest number first, and each thread numbers its own. On a card
a backward runs in a thread of autograd, which counts from zero; a graph of gradients therefore usually runs after the
graph that the program's thread has made. On the virtual card both run in one thread, so nodes made in a backward that
keeps a graph get the place here that a card's order gives them. Numbers: torch/csrc/autograd/function.h, `Node`;
order: `CompareNodeTaskTime` of engine.h.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch

_MOST_NODES = 5_000
"""Of a graph that is walked; beyond, nodes stay in the order of one thread."""
_MOST_SHIFTS = 1_000


class BackwardNumbers(threading.local):
    """What a thread of the program has numbered, apart from what backward made in it."""

    def __init__(self) -> None:
        self._made = 0
        self._first = _next_number()
        """A program on a card begins with zero."""
        self._shifts = collections.deque([(0, self._first)], _MOST_SHIFTS)
        """From which number of a card on ours are higher, and by how much."""

    def after(self, run_backward: Callable[..., Any]) -> Callable[..., Any]:
        """The engine's function, followed by the renumbering."""
        def run(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            if torch._C._current_graph_task_id() != -1:
                return run_backward(outputs, *args, **kwargs)
            start = _next_number()
            found = run_backward(outputs, *args, **kwargs)
            self._place(start, _roots(found, outputs, args) if args[2] else ())
            return found
        return run

    def _place(self, start: int, roots: Iterable[torch.Tensor]) -> None:
        """Give the nodes that were made since `start` and lead to `roots` their place."""
        end = _next_number()
        if end == start:
            return
        self._shifts.append((start - self._made - self._first, self._first + self._made + end - start))
        for node in _nodes(roots, lambda node: start <= node._sequence_nr() < end):
            node._set_sequence_nr(self._placed(node._sequence_nr() - start + self._made))
        self._made += end - start

    def _placed(self, number: int) -> int:
        """Ours, where the card's thread of autograd has the given one."""
        return number + next((shift for first, shift in reversed(self._shifts) if first <= number), 0)


def _next_number() -> int:
    """Of the node that this thread makes next."""
    bindings: Any = torch._C._autograd
    return int(bindings._get_sequence_nr())


def _roots(found: Any, outputs: Any, args: tuple[Any, ...]) -> list[torch.Tensor]:
    """Gradients that a backward returned, or left at its inputs or leaves."""
    if found:
        return [gradient for gradient in found if gradient is not None]
    leaves = args[3] or [
        node.variable for node in _nodes(outputs, lambda node: True) if hasattr(node, "variable")]
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def _nodes(roots: Iterable[torch.Tensor], wanted: Callable[[Any], bool]) -> list[Any]:
    """Those that lead to the roots without a gap; none where there are too many."""
    seen: set[Any] = set()
    waiting = [root.grad_fn for root in roots if isinstance(root, torch.Tensor)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or not wanted(node):
            continue
        seen.add(node)
        if len(seen) > _MOST_NODES:
            return []
        waiting.extend(following for following, _ in node.next_functions)
    return list(seen)
