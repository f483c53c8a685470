"""Objects that hold tensors although no variable leads to them: a search of the last resort, over the whole heap.

Iterators that a `for` statement holds, generators in the middle of their work, and reference cycles through C++ that
the collector cannot see. Garbage that merely waits for the collector is left out.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Iterator
from types import GeneratorType
from typing import Any

import torch

from memdoctor.foundation.locations import shown_path
from memdoctor.foundation.looks import Piece
from memdoctor.sensing.edges import edges, is_tensor
from memdoctor.sensing.frames import local_variables, qualified_name
from memdoctor.sensing.roots import Root
from memdoctor.sensing.user_code import class_file, is_user_file


def _own_references() -> int:
    """What `_on_a_stack` itself adds to a count: its list, its variable, and before Python 3.14 an argument."""
    objects = [object()]
    candidate = objects[0]
    return sys.getrefcount(candidate)


def nameless_roots(seen: Collection[int]) -> list[Root]:
    """Roots among all objects whose `id` is not in `seen`; takes about 0.1 s for 100,000 objects."""
    objects = [each for each in gc.get_objects() if id(each) not in seen]
    return [*_on_a_stack(objects), *_cycles_through_gradients(objects), *_cycles_through_contexts(objects)]


def _on_a_stack(objects: list[object]) -> Iterator[Root]:
    """Instances of the user's classes and his generators that something outside the collector's view refers to."""
    candidates = {id(each): each for each in objects if _is_users(each)}
    references = dict.fromkeys(candidates, 0)
    for each in objects:
        for held in gc.get_referents(each):
            if id(held) in references:
                references[id(held)] += 1
    own_references = _own_references()
    for key in list(candidates):
        candidate = candidates.pop(key)
        if sys.getrefcount(candidate) - own_references > references[key]:
            yield from _roots_in(candidate)


def _is_users(value: object) -> bool:
    if type(value) is GeneratorType:
        return is_user_file(value.gi_code.co_filename)
    return not issubclass(type(value), type) and class_file(type(value)) is not None


def _roots_in(candidate: Any) -> Iterator[Root]:
    frame = candidate.gi_frame if type(candidate) is GeneratorType else None
    if frame is None:
        name, file = type(candidate).__qualname__, class_file(type(candidate))
        yield Root(Piece("instance", name, name, shown_path(file) if file else None), candidate)
        return
    code = frame.f_code
    for name, value in local_variables(frame):
        piece = Piece("local", name, qualified_name(frame), shown_path(code.co_filename), code.co_firstlineno)
        yield Root(piece, value)


def _cycles_through_gradients(objects: list[object]) -> Iterator[Root]:
    """`backward(create_graph=True)`: parameter, its gradient, the gradient's graph, and from there the parameter."""
    for each in objects:
        if is_tensor(each) and each.is_leaf and each.grad is not None and each.grad.grad_fn is not None:
            yield Root(Piece("cycle", "p.grad"), each.grad)


def _cycles_through_contexts(objects: list[object]) -> Iterator[Root]:
    """`ctx.y = y` in a custom function: the context is the node of the tensor that it holds."""
    for each in objects:
        if issubclass(type(each), torch.autograd.function.FunctionCtx):
            file = class_file(type(each))
            for (_, name), value in edges(vars(each)):
                yield Root(Piece("cycle", "ctx." + name.strip("'"), type(each).__name__, file), value)
