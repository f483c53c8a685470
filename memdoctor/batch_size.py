"""The largest batch size that fits: found before training by `find_batch_size`, or met while training by the decorator.

The search is `analysis/batch_search.py`, led by `batch_forecast.py`; each of its questions is answered by a trial in a
fresh process.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from memdoctor import user_function
from memdoctor.analysis.batch_search import BatchSearch
from memdoctor.analysis.messages import is_out_of_memory
from memdoctor.batch_forecast import Forecast
from memdoctor.batch_trial import IN_TRIAL, Outcome, Request, run_trial
from memdoctor.foundation.batch_sizes import LARGEST_SIZE, BatchSize, Trial
from memdoctor.foundation.errors import BadInput
from memdoctor.virtual.cards import find_card

TIME_LIMIT_SECONDS = 600.0

_FIRST_RUNG = 2
"""The first size is two multiples, because a batch of one sample may broadcast where others do not."""

_Result = TypeVar("_Result")


class _Decorator(Protocol):
    def __call__(self, train: Callable[..., _Result], /) -> Callable[..., _Result]: ...


def find_batch_size(
    make_step: str | Callable[[int], Callable[[], object]],
    *,
    card: str | None = None,
    multiple_of: int = 1,
    max_size: int = LARGEST_SIZE,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> BatchSize:
    """Find the largest batch size whose training steps fit on a card.

    `make_step(batch_size)` builds model, optimizer and one batch, and returns a function without arguments that runs
    one whole training step; as text it is `train.py:make_step`. Each size is tried in a fresh process, so the function
    must stand at the top level of a file, and a file that calls `find_batch_size` itself must do so under
    `if __name__ == "__main__":`. `card` is a name of the catalogue or a size such as `24GiB`, tried on the virtual
    GPU; without it the real card is used. `time_limit_seconds` is for one trial, the start of its process included;
    `on_trial` is called after each.

    Raises `BadInput` if the function cannot be used, or fails with anything but a full card.
    """
    _refuse_a_search_within_a_trial()
    function = user_function.named(make_step) if isinstance(make_step, str) else user_function.of(make_step)
    _check_limits(multiple_of, max_size)
    if card is not None:
        find_card(card)  # an unknown one is refused before a process starts
    trials: list[Trial] = []

    def tried(size: int) -> Outcome:
        outcome = _recorded(Request(function, size, card), time_limit_seconds)
        if outcome.peak_bytes == 0:
            raise _nothing_on_the_card(function)
        trials.append(Trial(size, outcome.fits, outcome.peak_bytes, outcome.seconds))
        on_trial(trials[-1])
        return outcome

    first_size = min(_FIRST_RUNG, max_size // multiple_of) * multiple_of
    first = tried(first_size)
    search = BatchSearch(first.room_bytes, multiple_of=multiple_of, max_size=max_size)
    forecast = Forecast(first.room_bytes, multiple_of=multiple_of, max_size=max_size)
    _tell(search, forecast, first_size, first)
    while (size := search.ask(forecast.goal)) is not None:
        _tell(search, forecast, size, tried(size))
    return _result(search, forecast, first, trials)


def _recorded(request: Request, time_limit_seconds: float) -> Outcome:
    """A trial with what it asked of the allocator; on a real card that comes from the same steps on a virtual one."""
    outcome = run_trial(request, time_limit_seconds=time_limit_seconds)
    if request.card is not None or not outcome.fits:
        return outcome
    twin = dataclasses.replace(request, card=f"{outcome.room_bytes}B")
    try:
        requests = run_trial(twin, time_limit_seconds=time_limit_seconds, is_quiet=True).requests
    except BadInput:
        return outcome
    return dataclasses.replace(outcome, requests=requests)


def _tell(search: BatchSearch, forecast: Forecast, size: int, outcome: Outcome) -> None:
    search.tell(size, outcome.fits, outcome.peak_bytes)
    forecast.learn(size, outcome.requests)


def _refuse_a_search_within_a_trial() -> None:
    if IN_TRIAL in os.environ:
        raise BadInput(
            "find_batch_size was called while a trial imported this file.",
            'Call it under `if __name__ == "__main__":`.',
        )


def _check_limits(multiple_of: int, max_size: int) -> None:
    if multiple_of < 1 or max_size < multiple_of:
        raise BadInput(
            f"there is no batch size that is a multiple of {multiple_of} and at most {max_size}.",
            "Give a multiple of 1 or more, and a maximum that is not below it.",
        )


def _nothing_on_the_card(function: user_function.UserFunction) -> BadInput:
    return BadInput(
        f"{function} put nothing on the card, so every batch size fits.",
        "Put model and batch on it: .to('cuda').",
    )


def _result(search: BatchSearch, forecast: Forecast, first: Outcome, trials: list[Trial]) -> BatchSize:
    best = next((trial for trial in trials if trial.batch_size == search.largest), None)
    peak_bytes = None if best is None else best.peak_bytes
    return BatchSize(
        batch_size=search.largest,
        card=first.card,
        peak_bytes=peak_bytes,
        margin_bytes=None if peak_bytes is None else first.room_bytes - peak_bytes,
        predicted=search.predicted if forecast.first is None else forecast.first,
        trials=tuple(trials),
        skipped=first.skipped,
    )


@overload
def auto_batch_size(function: Callable[..., _Result], *, start: int = ...) -> Callable[..., _Result]: ...


@overload
def auto_batch_size(function: None = None, *, start: int = ...) -> _Decorator: ...


def auto_batch_size(function: Callable[..., Any] | None = None, *, start: int = 128) -> Any:
    """Call `train(batch_size, ...)` with the largest of `start`, `start // 2`, ... for which the card is not full.

    ::

        @memdoctor.auto_batch_size(start=256)
        def train(batch_size, epochs): ...

        train(epochs=3)

    All arguments of the call pass through behind the batch size. The next call begins at the size that worked. What a
    failed attempt left on the card is freed before the next; what it did elsewhere is not undone. An error that does
    not mean a full card comes out unchanged, and so does a full card at batch size 1.

    Raises `BadInput` when it decorates what cannot take a batch size first.
    """
    if start < 1:
        raise BadInput(f"a batch size cannot start at {start}.", "Start at a size that is surely large enough: 128.")

    def decorate(train: Callable[..., Any]) -> Callable[..., Any]:
        return _halving(train, start)

    return decorate if function is None else decorate(function)


def _halving(train: Callable[..., _Result], start: int) -> Callable[..., _Result]:
    _refuse_without_batch_size(train)
    worked = start

    @functools.wraps(train)
    def wrapper(*arguments: Any, **options: Any) -> _Result:
        nonlocal worked
        size = worked
        while True:
            try:
                result = train(size, *arguments, **options)
                worked = size
                return result
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Not inside the `except`: there the traceback keeps every frame of the attempt, and its tensors, alive.
            _free_cached_memory()
            size //= 2

    return wrapper


def _refuse_without_batch_size(train: Callable[..., Any]) -> None:
    if not user_function.takes_one_first(train):
        raise BadInput(
            f"{train.__qualname__} takes {user_function.parameters(train)}; auto_batch_size calls it with the batch "
            "size before the arguments of the call.",
            "Write `def train(batch_size, ...)`; a method cannot be decorated, a function inside it can.",
        )


def _free_cached_memory() -> None:
    """Collect the cycles in which an attempt was caught, then return its blocks, which the next may cut otherwise."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.cuda.empty_cache()
