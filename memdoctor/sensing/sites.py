"""Where each storage is born: the module that runs, the user's line, and forward, backward or optimizer step.

Hooks keep a stack of modules per thread. A birth in backward belongs to the forward line and module of the operator
whose gradient is computed: autograd numbers its nodes in the order of the forward pass, so that the number of the
running node finds the place where the forward was when it handed out that number. Births are marked with small
numbers: nothing that the collector tracks is kept for one, unless it is the first of its kind.
"""

from __future__ import annotations

import os
import sys
import threading
from array import array
from bisect import bisect_right
from types import FrameType
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from memdoctor.foundation.breakdown import BACKWARD, FORWARD, MOVING, OPTIMIZER_STEP, OUTSIDE, Birthmark
from memdoctor.foundation.locations import Location, shown_path
from memdoctor.sensing.models import Models
from memdoctor.sensing.user_code import is_user_file

_MOST_PLACES = 1 << 18
"""Changes of place that are remembered for backward passes to come; the older half goes first."""
_UNNUMBERED = 2**63
"""Nodes that accumulate gradients have the largest number there is, and no place of their own."""
_LAYER_FOLDER = os.path.join("torch", "nn", "modules", "")
_PARAMETER_FILE = os.path.join("torch", "nn", "parameter.py")
_MOVERS = ("__init__", "_apply", "__deepcopy__")
"""Functions of these files in which parameters are born: also `model.to()`, `model.cuda()`, `copy.deepcopy(model)`."""

_running_node: Any = getattr(torch._C, "_current_autograd_node", lambda: None)
_running_backward: Any = torch._C._current_graph_task_id
_next_number: Any = torch._C._autograd._get_sequence_nr


_Place = tuple[str, str, int]
"""Module, file, line."""


class _Thread:
    """What is running in a thread."""

    __slots__ = (
        "modules", "backwards", "evaluates", "steps", "numbers", "places", "next_number", "place", "gradient_place",
    )

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.backwards: list[int] = []
        """The backward pass within which each of the modules was called; -1 for none."""
        self.evaluates = False
        self.steps = False
        self.numbers = array("Q")
        self.places = array("q")
        self.next_number = _next_number()
        self.place = 0
        self.gradient_place = 0


class _Local(threading.local):
    """A plain object per thread: an attribute of it costs a third of one of a `threading.local`."""

    def __init__(self) -> None:
        self.thread = _Thread()


class Sites:
    """Marks births while its `with` lasts."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._local = _Local()
        self._handles: list[Any] = []
        self._places: dict[_Place, int] = {("", "", 0): 0}
        self._place_of = list(self._places)
        self._tags: dict[tuple[Any, ...], int] = {}
        self._marks = [Birthmark()]

    def __enter__(self) -> Sites:
        self._handles = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
            register_optimizer_step_pre_hook(self._enter_step),
            register_optimizer_step_post_hook(self._leave_step),
        ]
        return self

    def __exit__(self, *ignored: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def tag(self, tensor: torch.Tensor | None, operator: Any) -> int:
        """The number of the mark of a storage that is born now, in this thread; None for one read from a file."""
        thread = self._local.thread
        phase, place, followed = self._site(thread)
        computed = _COMPUTED.get(id(operator))
        if computed is None:
            computed = _COMPUTED[id(operator)] = _computes(operator)
        shape, dtype = (None, None) if tensor is None else (tensor.shape, tensor.dtype)
        key = (phase, place, followed, computed, shape, dtype)
        known = self._tags.get(key)
        return self._first(key) if known is None else known

    def mark(self, tag: int) -> Birthmark:
        """What `tag` saw."""
        return self._marks[tag]

    def call(self) -> Location | None:
        """The innermost line of the user's that is running."""
        file, line, _ = _user_line()
        return Location(shown_path(file), line) if file else None

    def gradients_in_evaluation(self) -> bool:
        """Whether the model that runs is in evaluation mode while autograd records."""
        thread = self._local.thread
        return bool(thread.modules) and thread.evaluates and torch.is_grad_enabled()

    def _site(self, thread: _Thread) -> tuple[str, int, bool]:
        backward = _running_backward()
        recomputes = bool(thread.backwards) and thread.backwards[-1] == backward
        if backward >= 0 and not recomputes:
            return BACKWARD, self._place_of_gradient(thread), False
        file, line, moves = _user_line()
        key = (thread.modules[-1] if thread.modules else "", file, line)
        place = self._places.get(key) or self._number(key)
        if thread.steps and not thread.modules:
            return OPTIMIZER_STEP, place, False
        followed = self._note_place(thread, place)
        return FORWARD if thread.modules else MOVING if moves else OUTSIDE, place, followed

    def _number(self, place: _Place) -> int:
        number = self._places[place] = len(self._place_of)
        self._place_of.append(place)
        return number

    def _note_place(self, thread: _Thread, place: int) -> bool:
        """True if autograd has made a node since the last birth: it is the one of the running operator."""
        number = _next_number()
        followed: bool = number != thread.next_number
        if place != thread.place:
            thread.numbers.append(number - followed)
            thread.places.append(place)
            if len(thread.places) > _MOST_PLACES:
                del thread.numbers[:_MOST_PLACES // 2], thread.places[:_MOST_PLACES // 2]
        thread.next_number, thread.place = number, place
        return followed

    def _place_of_gradient(self, thread: _Thread) -> int:
        node = _running_node()
        number = node._sequence_nr() if node is not None else _UNNUMBERED
        if number < _UNNUMBERED:
            found = bisect_right(thread.numbers, number) - 1
            thread.gradient_place = thread.places[found] if found >= 0 else 0
        return thread.gradient_place

    def _first(self, key: tuple[Any, ...]) -> int:
        self._marks.append(self._mark(*key))
        known = self._tags[key] = len(self._marks) - 1
        return known

    def _mark(
        self, phase: str, place: int, followed: bool, computed: bool,
        shape: torch.Size | None, dtype: torch.dtype | None,
    ) -> Birthmark:
        module, file, line = self._place_of[place]
        return Birthmark(
            phase=phase,
            module=module,
            location=Location(shown_path(file), line) if file else None,
            followed=followed,
            computed=computed,
            loaded=dtype is None,
            shape=tuple(shape or ()),
            dtype=str(dtype or "").removeprefix("torch."),
        )

    def _enter_module(self, module: torch.nn.Module, args: Any) -> None:
        thread = self._local.thread
        path = self._models.path_of(module)
        if path is None:
            path = self._models.meet(module, f"{thread.modules[-1]}.{type(module).__name__}" if thread.modules else "")
        if not thread.modules:
            thread.steps = False  # a step that failed is never said to have ended
            thread.evaluates = not module.training
            thread.next_number = _next_number()
        thread.modules.append(path)
        thread.backwards.append(_running_backward())

    def _leave_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        thread = self._local.thread
        if thread.modules:
            thread.modules.pop()
            thread.backwards.pop()
        thread.next_number = _next_number()

    def _enter_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._models.meet_optimizer(optimizer)
        self._local.thread.steps = True

    def _leave_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._local.thread.steps = False


_COMPUTED: dict[int, bool] = {id(None): False}
"""By the identity of the operator: there is one object of each, and its hash is computed in Python."""


def _computes(operator: Any) -> bool:
    """False for operators that make a tensor from no other, and for copies to the card."""
    takes_tensors = any("Tensor" in str(argument.type) for argument in operator._schema.arguments)
    return takes_tensors and operator is not torch.ops.aten._to_copy.default


def _user_line() -> tuple[str, int, bool]:
    """File and line of the innermost user's frame, and whether a module was being made or moved in between.

    Runs at each birth on some fifteen frames: one look into a dictionary is all that most of them cost.
    """
    frame: FrameType | None = sys._getframe(_OWN_FRAMES)
    moves = False
    while frame is not None:
        code = frame.f_code
        kind = _KINDS.get(code.co_filename) or _kind(code.co_filename)
        if kind == _USERS:
            return code.co_filename, frame.f_lineno, moves
        moves = moves or (kind == _LAYERS and code.co_name in _MOVERS)
        frame = frame.f_back
    return "", 0, False


_OWN_FRAMES = 6
"""From here through `Births` and the card's ledger to its dispatch mode there are at least so many."""
_USERS, _LAYERS, _OTHERS = 1, 2, 3
_KINDS: dict[str, int] = {}


def _kind(filename: str) -> int:
    is_layer = _LAYER_FOLDER in filename or filename.endswith(_PARAMETER_FILE)
    kind = _KINDS[filename] = _USERS if is_user_file(filename) else _LAYERS if is_layer else _OTHERS
    return kind


def raised_at(error: BaseException) -> Location | None:
    """The innermost line of the user's that an exception came through; None if it met none."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        found = Location(shown_path(filename), trace.tb_lineno) if is_user_file(filename) else found
        trace = trace.tb_next
    return found
