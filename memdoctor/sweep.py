"""Whole training steps at several batch sizes on several virtual cards, in processes of this machine or on Ray."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import os
import queue
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from memdoctor.batch_size import TIME_LIMIT_SECONDS, request_for
from memdoctor.batch_trial import Outcome, Request, Trials
from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.sweeps import Sweep, SweepFile, SweepHeader, SweepPoint
from memdoctor.user_function import UserFunction
from memdoctor.virtual.cards import find_card

_AGAIN_SECONDS = 0.1

Answers = Generator[tuple[Request, Outcome], None, None]


def sweep(
    make_step: str | Callable[[int], object],
    *,
    sizes: Sequence[int],
    cards: Sequence[str],
    results: Path | None = None,
    on_ray: bool = False,
    processes: int | None = None,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Try each size on each virtual card, in any order and several at a time; the results do not depend on where.

    `make_step` is what `find_batch_size` takes. Points that stand in the file `results` are not tried again, and new
    ones are added to it as they end. `on_ray` uses the Ray cluster that Ray itself would find, else one on this
    machine; the program's file must lie under the same path on all of its nodes. Without it as many as `processes`
    trials run here at once (default: one for each core). `on_progress` is told after
    each how many points are done, and of how many.

    Raises `BadInput` if the program cannot be used or fails with anything but a full card, or without Ray.
    """
    wanted = [_request(make_step, size, card) for card in dict.fromkeys(cards) for size in dict.fromkeys(sizes)]
    if not wanted:
        raise BadInput("a sweep without a size or without a card has no points.", "Name at least one of each.")
    file = SweepFile(results, _header(wanted[0]))
    open_requests = [request for request in wanted if _key(request) not in file.done]
    run = _on_ray() if on_ray else functools.partial(_in_processes, processes or os.cpu_count() or 1)
    with contextlib.closing(run(open_requests, time_limit_seconds)) as answers:
        for request, outcome in answers:
            file.add(_point(request, outcome))
            on_progress(sum(_key(request) in file.done for request in wanted), len(wanted))
    return Sweep(str(wanted[0].program), tuple(file.done[_key(request)] for request in wanted))


def _request(make_step: str | Callable[[int], object], size: int, card: str) -> Request:
    find_card(card)
    return dataclasses.replace(request_for(make_step, card=card), batch_size=size)


def _key(request: Request) -> tuple[int, str]:
    assert request.card is not None, "a sweep is over virtual cards"
    return request.batch_size, request.card


def _header(request: Request) -> SweepHeader:
    function = request.function
    assert function is not None, "a sweep is of a function"
    return SweepHeader(str(function), hashlib.sha256(Path(_path(function)).read_bytes()).hexdigest())


def _path(function: UserFunction) -> str:
    if not function.is_module:
        return function.source
    spec = importlib.util.find_spec(function.source)
    assert spec is not None and spec.origin is not None, "the function has been imported from there"
    return spec.origin


def _point(request: Request, outcome: Outcome) -> SweepPoint:
    size, card = _key(request)
    peak_bytes = outcome.peak_bytes
    margin_bytes = None if peak_bytes is None else outcome.room_bytes - peak_bytes
    return SweepPoint(size, card, outcome.fits, peak_bytes, margin_bytes, outcome.seconds, outcome.skipped)


def _on_ray() -> Callable[[Sequence[Request], float], Answers]:
    try:
        module = importlib.import_module("memdoctor.sweep_ray")
    except ImportError as error:
        found = f"Ray cannot be imported: {error}."
        raise BadInput(found, "Install it: pip install 'torch-memdoctor[ray]'; or leave --ray out.") from error
    run: Callable[[Sequence[Request], float], Answers] = module.run
    return run


def _in_processes(count: int, requests: Sequence[Request], time_limit_seconds: float) -> Answers:
    """Threads that wait for trials; each has a process of its own that starts them."""
    count = min(count, len(requests))
    idle: queue.SimpleQueue[Trials] = queue.SimpleQueue()

    def tried(request: Request) -> tuple[Request, Outcome]:
        trials = idle.get()
        try:
            return request, trials.run(request)
        finally:
            idle.put(trials)

    with concurrent.futures.ThreadPoolExecutor(max(count, 1)) as threads, contextlib.ExitStack() as stack:
        all_trials = [stack.enter_context(Trials(time_limit_seconds=time_limit_seconds)) for _ in range(count)]
        for trials in all_trials:
            idle.put(trials)
        answers = [threads.submit(tried, request) for request in requests]
        try:
            for ended in concurrent.futures.as_completed(answers):
                yield ended.result()
        finally:
            _give_up(answers, all_trials)


def _give_up(answers: Sequence[concurrent.futures.Future[tuple[Request, Outcome]]], running: Sequence[Trials]) -> None:
    """End what runs, more than once for a trial whose process is only about to start.

    Only then may `Trials` be closed: a thread that still listens to its process could take another number for one.
    """
    waiting = [answer for answer in answers if not answer.cancel()]
    while concurrent.futures.wait(waiting, timeout=_AGAIN_SECONDS).not_done:
        for trials in running:
            trials.stop()
