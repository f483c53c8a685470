"""Loops, and which of them pass over the data: only what outlives an iteration of those can pile up."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from memdoctor.rules._names import identifiers, last_name, nodes_in

_DATA_WORDS = re.compile(
    r"\w*(loader|dataset|batches|minibatch|epoch|iterator|dataiter|dset)\w*|\w*_iters?|\w*_dl|data|dl|batch|episodes"
    r"|(train|valid?|test|dev)\w*_(set|data)|trainset|testset"
    r"|num_?iter\w*|iters|n_?iters?|max_?steps|num_?steps|n_steps|steps|iterations",
    re.IGNORECASE,
)
_BATCH_SIZE = re.compile(r"\w*batch_?size|bs|bsz", re.IGNORECASE)
_NOT_DATA_WORDS = re.compile(r"batch_?size|bs|num_samples|values|keys|items|shape|size", re.IGNORECASE)
_STEP_CALLS = frozenset({"backward", "zero_grad", "manual_backward"})


@dataclass(eq=False)
class Loop:
    """One for, while or comprehension of a scope."""

    node: ast.AST
    trains: bool
    """Its body calls backward, or an optimizer's step or zero_grad."""
    over_data: bool
    """What it runs over is named like a loader, a data set, batches, epochs or steps."""


def loop_of(node: ast.For | ast.AsyncFor | ast.While) -> Loop:
    """Classify a statement loop by its body and by what it runs over."""
    over_data = not isinstance(node, ast.While) and is_over_data(node.iter)
    return Loop(node, _trains(node), over_data)


def is_over_data(iterable: ast.AST) -> bool:
    """True for loaders, data sets, batches, epochs; false for `range(batch_size)` and `batch.items()`."""
    if _is_cut_into_batches(iterable):
        return True
    names = list(identifiers(iterable))
    return any(_DATA_WORDS.fullmatch(name) for name in names) and not any(_NOT_DATA_WORDS.fullmatch(n) for n in names)


def _is_cut_into_batches(iterable: ast.AST) -> bool:
    """`images.split(batch_size)` and `range(0, len(images), batch_size)`."""
    if not isinstance(iterable, ast.Call) or not iterable.args:
        return False
    is_cut = last_name(iterable.func) == "split" or (last_name(iterable.func) == "range" and len(iterable.args) == 3)
    return is_cut and bool(_BATCH_SIZE.fullmatch(last_name(iterable.args[-1])))


def _trains(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) and is_training_call(part) for part in nodes_in(node))


def is_training_call(call: ast.Call) -> bool:
    """`x.backward()`, `opt.zero_grad()`, `optimizer.step()`; not the step of an environment or scheduler."""
    if not isinstance(call.func, ast.Attribute):
        return False
    name = call.func.attr
    return name in _STEP_CALLS or (name == "step" and "optim" in last_name(call.func.value).lower())
