"""Finds iterations and phases in a program that was not written for memdoctor.

An iteration ends where an optimizer has stepped; in evaluation, and in programs without an optimizer, where the
outermost module has been called; in one without modules either, where a backward pass has ended. Global hooks of
`torch.optim` and `torch.nn` see the first two, in the user's thread and with the user's frames still on the stack. A
failure in here never reaches the program.
"""

from __future__ import annotations

import contextlib
import gc
import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from memdoctor.foundation.printed import printed_without_our_frames
from memdoctor.sensing.backward_calls import BackwardCalls
from memdoctor.sensing.frames import other_threads_wait
from memdoctor.sensing.models import Models
from memdoctor.sensing.outermost import OutermostCalls
from memdoctor.sensing.packing import PackingCalls

OPTIMIZER_STEP = "optimizer step"
MODEL_CALL = "model call"
BACKWARD_CALL = "backward pass"
EXPLICIT_STEP = "step() call"

_BACKWARDS_BEFORE_A_STEP = 8
"""Where there is an optimizer, perhaps of something else: as many may accumulate before its first step."""
_CALLS_BEFORE_EVALUATION = 13
"""Token generation, samplers and short validations make fewer calls in a row, and grow legitimately in them."""


class Recorder:
    """Calls `on_iteration(unit, phase)` at each boundary while its `with` lasts.

    `steps` is `auto`, `optimizer` or `explicit`. `step()` takes over for good: once the user says where iterations
    end, the optimizer and the modules no longer do.
    """

    def __init__(
        self,
        on_iteration: Callable[[str, str], None],
        *,
        on_failure: Callable[[Exception], None],
        steps: str = "auto",
        on_call: Callable[[torch.nn.Module, Any], None] = lambda module, args: None,
    ) -> None:
        """`on_failure` is told what broke in a hook; nothing is counted after that, and the program does not notice.

        `on_call` is given each model that is about to be called, and its positional arguments.
        """
        self._on_iteration = on_iteration
        self._on_failure = on_failure
        self._counts_calls = steps == "auto"
        self._explicit = steps == "explicit"
        self._on_call = on_call
        self._open = contextlib.ExitStack()
        self._calls = OutermostCalls(self._before_call, self._after_call)
        self.models = Models()
        self._calls_since_step = 0
        self._stepped: list[weakref.ref[torch.optim.Optimizer]] = []
        self._has_optimizer: bool | None = None
        self._has_modules = False
        self._backwards = 0
        self._may_step = True

    def __enter__(self) -> Recorder:
        self._open.enter_context(printed_without_our_frames)
        self._open.callback(_NoWordAboutHooks().remove)
        self._open.callback(register_optimizer_step_post_hook(self._after_optimizer_step).remove)
        self._open.enter_context(self._calls)
        self._open.callback(BackwardCalls(self._after_backward).remove)
        self._open.callback(PackingCalls().remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def step(self) -> None:
        """The user's own word that an iteration has ended."""
        self._explicit = True
        self._calls.recover()
        self._on_iteration(EXPLICIT_STEP, _phase(torch.is_grad_enabled()))

    def _after_optimizer_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        try:
            self._calls.recover()
            self._calls_since_step = 0
            if self._begins_again(optimizer) and not self._explicit:
                self._on_iteration(OPTIMIZER_STEP, "train")
        except Exception as error:
            self._fail(error)

    def _after_backward(self) -> None:
        """Counts in programs that update their parameters by hand, and have no module."""
        if self._has_optimizer or self._has_modules or not self._counts_calls or self._explicit:
            return
        try:
            if not self._backwards and other_threads_wait():
                self._may_step = any(True for _ in _optimizers())
            self._backwards += 1
            if not self._may_step or self._backwards > _BACKWARDS_BEFORE_A_STEP:
                self._on_iteration(BACKWARD_CALL, "train")
        except Exception as error:
            self._fail(error)

    def _begins_again(self, optimizer: torch.optim.Optimizer) -> bool:
        """True if this optimizer opens a new round: the several optimizers of a GAN make one iteration together."""
        if len(self._stepped) == 1 and self._stepped[0]() is optimizer:
            return True
        self._has_optimizer = True
        self.models.meet_optimizer(optimizer)
        known = [reference() for reference in self._stepped]
        new_round = not known or None in known or any(other is optimizer for other in known)
        self._stepped = [weakref.ref(optimizer)] if new_round else [*self._stepped, weakref.ref(optimizer)]
        return new_round

    def _before_call(self, module: torch.nn.Module, args: Any) -> None:
        """A criterion is a module too, but no model: it has no parameters, and is always in training mode."""
        self._has_modules = True
        try:
            if self.models.has_parameters(module):
                self._on_call(module, args)
        except Exception as error:
            self._fail(error)

    def _after_call(self, module: torch.nn.Module, output: Any) -> None:
        try:
            if self.models.path_of(module) is None:
                self.models.meet(module)
            if self._counts_calls and not self._explicit and output is not None:  # a forward that raised has none
                self._after_model_call(module)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Modules and optimizers are the user's classes, and may do anything."""
        self._explicit = True
        self._on_failure(error)

    def _after_model_call(self, module: torch.nn.Module) -> None:
        evaluates = not module.training or not torch.is_grad_enabled()
        if (self._has_optimizer and not evaluates) or not self.models.has_parameters(module):
            return
        if not evaluates and self._will_step(module):
            return
        self._calls_since_step += 1
        if not evaluates or self._calls_since_step > _CALLS_BEFORE_EVALUATION:
            self._on_iteration(MODEL_CALL, _phase(not evaluates))

    def _will_step(self, module: torch.nn.Module) -> bool:
        """Whether there is an optimizer whose steps are worth waiting for."""
        if self._has_optimizer is None and other_threads_wait():
            self._has_optimizer = _has_optimizer(module)
        return self._has_optimizer is not False


_ABOUT_HOOKS = (
    "ignore", re.compile(r"Using `torch\.compile\(module\)` when there are global hooks"), UserWarning, None, 0
)


class _NoWordAboutHooks:
    """PyTorch warns at each call of a compiled module of global hooks; they are ours, and harmless there.

    Not by `warnings.filterwarnings`, which would make warnings that were shown once appear again.
    """

    def __init__(self) -> None:
        warnings.filters.insert(0, _ABOUT_HOOKS)  # type: ignore[attr-defined]  # a list, typed as a Sequence

    def remove(self) -> None:
        with contextlib.suppress(ValueError):  # the program has set filters of its own
            warnings.filters.remove(_ABOUT_HOOKS)  # type: ignore[attr-defined]  # as above


def _has_optimizer(module: torch.nn.Module) -> bool:
    """One pass over the heap, some 50 ms at 300,000 objects; asks types only, since `isinstance` may run user code."""
    own = {id(parameter) for parameter in module.parameters()}
    return any(id(each) in own for found in _optimizers() for group in found.param_groups for each in group["params"])


def _optimizers() -> Iterator[torch.optim.Optimizer]:
    return (found for found in gc.get_objects() if issubclass(type(found), torch.optim.Optimizer))


def _phase(trains: bool) -> str:
    return "train" if trains else "eval"
