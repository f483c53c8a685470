"""What runs in the process of a trial: the user's program at one size, on the real or the virtual card.

The program is a function that makes a step, a trainer of a framework, or a script; it runs whole training steps, the
optimizer's included, until the gauge has enough.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from memdoctor import trial_trainers, user_function
from memdoctor.analysis.messages import is_out_of_memory
from memdoctor.batch_trial import Outcome, Request
from memdoctor.foundation.errors import BadInput, MemdoctorError
from memdoctor.run import NO_CARD, run
from memdoctor.sensing.call_shapes import CallShapes
from memdoctor.sensing.current_card import CurrentCard, current_card
from memdoctor.sensing.recorder import Recorder
from memdoctor.trial_gauge import Enough, Gauge
from memdoctor.user_function import UserFunction
from memdoctor.user_script import UserScript
from memdoctor.virtual.cards import find_card
from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

_ENDLESS_BYTES = 2**60

_HOW_TO_WRITE_IT = (
    "Write `def make_step({}): ... return step`, or name another function: memdoctor batch-size {}:FUNCTION"
)


@dataclass(frozen=True)
class _Ending:
    """How a program ended that was stopped, or had run all its steps, or filled the card."""

    is_full: bool = False
    advice: tuple[str, ...] = ()


def measured(request: Request) -> Outcome:
    """Try the size; the process is of no use to anybody afterwards.

    Raises `BadInput` if the program cannot be tried, with the user's error as its cause if that is why.
    """
    with _card_for(request) as gpu:
        card = current_card()
        if card is None:
            raise _no_card(request)
        if gpu is None and request.margin:
            card.leave_free(_margin_bytes(card.room_bytes, request))
        with CallShapes() as call_shapes:
            gauge = Gauge(card, gpu, call_shapes)
            ending = _trained(request, gauge)
        return _outcome(request, card, gpu, gauge, ending)


def _outcome(request: Request, card: CurrentCard, gpu: VirtualGPU | None, gauge: Gauge, ending: _Ending) -> Outcome:
    is_full = ending.is_full or gauge.was_full
    fits = not is_full and not gauge.retries
    margin_bytes = _margin_bytes(card.room_bytes, request) if gpu is None else 0
    return Outcome(
        card=request.card or card.name,
        room_bytes=card.room_bytes - margin_bytes,
        usable_bytes=(card.usable_bytes() if fits else card.room_bytes) - margin_bytes,
        fits=fits,
        peak_bytes=gauge.peak_bytes if fits else None,
        first_peak_bytes=gauge.first_peak_bytes if fits else None,
        seconds=gauge.seconds,
        step_seconds=gauge.step_seconds if fits else None,
        alloc_retries=0 if is_full else gauge.retries,
        requests=gpu.requests if gpu is not None and fits else None,
        warm_up_requests=gauge.warm_up_requests,
        steps=gauge.steps,
        shapes=tuple(gauge.shapes),
        advice=ending.advice,
        skipped=() if gpu is None else (gpu.remark(),),
    )


@contextlib.contextmanager
def _card_for(request: Request) -> Iterator[VirtualGPU | None]:
    """The virtual card that was asked for, less the margin, or without end; None for the real one."""
    if request.card is None:
        yield None
        return
    card = find_card(request.card)
    total_bytes = _ENDLESS_BYTES
    if not request.is_endless:
        total_bytes = card.total_bytes - _margin_bytes(card.total_bytes - card.context_bytes, request)
    with virtual_gpu(request.card, capacity_bytes=total_bytes) as gpu:
        gpu.record_requests()
        yield gpu


def _margin_bytes(room_bytes: int, request: Request) -> int:
    return int(room_bytes * request.margin)


def _no_card(request: Request) -> BadInput:
    return BadInput(
        "there is no GPU here to try batch sizes on.",
        f"Name the card they are for: memdoctor batch-size {request.program} --card 24GiB",
    )


def _trained(request: Request, gauge: Gauge) -> _Ending:
    try:
        if request.script is not None:
            return _script_ran(request.script, request, gauge)
        assert request.function is not None
        _run_function(request.function, request, gauge)
    except (MemdoctorError, KeyboardInterrupt):
        raise
    except Enough:
        return _Ending()
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            return _Ending(is_full=True)
        raise _failed(error, request) from error
    return _Ending()


def _run_function(function: UserFunction, request: Request, gauge: Gauge) -> None:
    made = _made(function, request)
    train = trial_trainers.training_of(made)
    if train is not None:
        with _stopped_by(gauge):
            train()
        _refuse_without_steps(request, gauge)
        return
    _refuse_what_is_no_step(made, request)
    while not gauge.is_done:
        made()
        gauge.step_ended()


def _made(function: UserFunction, request: Request) -> Any:
    """What the user's function makes at this size, or the trainer that stands in its place."""
    named = user_function.load(function)
    trainer = trial_trainers.with_batch_size(named, request.batch_size)
    if trainer is not None:
        return trainer
    if not callable(named):
        raise BadInput(f"{function} is no function, but {type(named).__name__}.", "Name a function of that file.")
    arguments = () if request.axis else (request.batch_size,)
    options = {**(request.at or {}), **({request.axis: request.batch_size} if request.axis else {})}
    if not user_function.takes(named, *arguments, **options):
        raise _takes_something_else(function, named, request, options)
    return named(*arguments, **options)


def _takes_something_else(
    function: UserFunction, named: Callable[..., Any], request: Request, options: dict[str, int]
) -> BadInput:
    """What to type instead, where that is an option; else how the function should be written."""
    for name in options:
        if not user_function.has_argument(named, name):
            return BadInput(f"{function} has no argument {name}.", f"It is {function.name}{inspect.signature(named)}.")
    missing = [name for name in user_function.arguments_that_are_needed(named) if name not in options]
    if request.axis and missing:
        fixed = " ".join(f"--at {name}=8" for name in missing)
        return BadInput(f"{function} also needs {' and '.join(missing)}.", f"Give what stays fixed besides: {fixed}")
    taken = next(iter(inspect.signature(named).parameters), "")
    if not request.axis and taken in options:
        return BadInput(
            f"{function} is called with the batch size as {taken}, which --at sets too.",
            f"Leave --at {taken}={options[taken]} out, or name another argument to search with --axis.",
        )
    first = [] if request.axis else ["batch_size"]
    given = ["one, the batch size"] * len(first) + [f"{name}={number}" for name, number in options.items()]
    return BadInput(
        f"{function} takes {user_function.parameters(named)}; batch-size calls it with {' and '.join(given)}.",
        _HOW_TO_WRITE_IT.format(", ".join([*first, *options]), function.source),
    )


def _refuse_what_is_no_step(step: object, request: Request) -> None:
    function = request.function
    assert function is not None
    how_to_write_it = _HOW_TO_WRITE_IT.format(request.axis or "batch_size", function.source)
    if not callable(step):
        raise BadInput(f"{function} returned {step!r:.60}, not a function that runs a step.", how_to_write_it)
    if not user_function.takes(step):
        raise BadInput(
            f"The step that {function} returned takes {user_function.parameters(step)}; batch-size calls it with none.",
            how_to_write_it,
        )


def _script_ran(script: UserScript, request: Request, gauge: Gauge) -> _Ending:
    with _stopped_by(gauge):
        outcome = run(script.path, script.arguments_for(request.batch_size), module=False, card=NO_CARD, output=None)
    if gauge.is_done:
        return _Ending()
    error = outcome.error
    if error is not None and is_out_of_memory(error):
        cause = outcome.report.cause
        return _Ending(is_full=True, advice=() if cause is None else cause.advice)
    if error is not None and not (isinstance(error, SystemExit) and not error.code):
        raise _failed(error, request) from error
    _refuse_without_steps(request, gauge)
    return _Ending()


@contextlib.contextmanager
def _stopped_by(gauge: Gauge) -> Iterator[None]:
    """Steps of optimizers are the program's steps, and the last that is needed ends it."""
    with Recorder(lambda unit, phase: gauge.step_ended_for_good(), on_failure=_reraise, steps="optimizer"):
        yield


def _reraise(error: Exception) -> None:
    raise error


def _refuse_without_steps(request: Request, gauge: Gauge) -> None:
    if not gauge.steps:
        raise BadInput(
            f"{request.program} ended at {request.what} without a step of an optimizer of torch.optim.",
            "Write a function that makes the step instead: memdoctor batch-size FILE.py:make_step",
        )


def _failed(error: BaseException, request: Request) -> BadInput:
    next_step = "Its traceback is above."
    if isinstance(error, SystemExit):
        next_step = "What it said is above."
    if request.batch_size == 1:
        next_step += " If one sample is too few, as for batch norm, search in twos: --multiple-of 2"
    return BadInput(
        f"{request.program} failed at {request.what}, not for memory: {user_function.describe(error)}.",
        next_step,
    )
