"""Trials of a program that trains in several processes, each with a card of its own: all fit, or the size does not.

Every rank is a trial process beside the others, in the environment that torchrun makes for nodes with one card each.
The ranks of a trial begin together, and when one of them cannot go on, the others do not wait for it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType

from memdoctor.batch_trial import Outcome, Request, Trials
from memdoctor.foundation.errors import BadInput, MemdoctorError

_GRACE_SECONDS = 3.0
"""A rank that loses the connection to one whose card is full fails too, and may be the first to say so."""

_AGAIN_SECONDS = 0.1

Answer = concurrent.futures.Future[Outcome]


class RankedTrials(Trials):
    """Each trial is one process for every rank; its outcome is that of the rank that needs most."""

    def __init__(self, *, ranks: int, time_limit_seconds: float) -> None:
        """The limit is for one trial of all ranks."""
        super().__init__(time_limit_seconds=time_limit_seconds)
        self._ranks = [Trials(time_limit_seconds=time_limit_seconds) for _ in range(ranks)]
        # One pool for all trials: a process that starts them ends with the thread that started it.
        self._threads = concurrent.futures.ThreadPoolExecutor(ranks)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._threads.shutdown)
            for trials in self._ranks:
                stack.push(trials)

    def run(self, request: Request, *, is_quiet: bool = False) -> Outcome:
        """Run all ranks to their end, or until one of them cannot go on.

        Raises `BadInput` if a rank fails with anything but a full card, and names the rank that failed first.
        """
        answers = [
            self._threads.submit(trials.run, dataclasses.replace(request, environment=environment), is_quiet=is_quiet)
            for trials, environment in zip(self._ranks, _environments(request, len(self._ranks)))
        ]
        try:
            failed = _first_failure(answers)
            outcomes = [answer.result() for answer in answers if answer.done() and answer.exception() is None]
        finally:
            self._stop(answers)
        full = next((outcome for outcome in outcomes if not outcome.fits), None)
        if full is None and failed is not None:
            raise _on_rank(answers.index(failed), failed)
        return full or max(outcomes, key=lambda outcome: outcome.peak_bytes or 0)

    def _stop(self, answers: Sequence[Answer]) -> None:
        """More than once, for a rank whose process is only about to start."""
        for trials, answer in zip(self._ranks, answers):
            while not answer.done():
                trials.stop()
                concurrent.futures.wait([answer], timeout=_AGAIN_SECONDS)


def _first_failure(answers: Sequence[Answer]) -> Answer | None:
    """Wait until all ranks have ended, a card is full, or one has failed and the others had time to say why."""
    waiting = set(answers)
    while waiting:
        ended, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        failed = next((answer for answer in ended if answer.exception() is not None), None)
        if failed is not None:
            concurrent.futures.wait(waiting, timeout=_GRACE_SECONDS)
            return failed
        if any(not answer.result().fits for answer in ended):
            return None
    return None


def _on_rank(rank: int, failed: Answer) -> BaseException:
    error = failed.exception()
    assert error is not None, "it has failed"
    if not isinstance(error, MemdoctorError):
        return error
    return BadInput(f"On rank {rank}, {error.found}", error.next_step)


def _environments(request: Request, ranks: int) -> Iterator[dict[str, str]]:
    """Every rank sees one card, its own; a port is free when it is chosen, and closed with the first rank's process."""
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(ranks)}
    cards = _visible_cards(ranks) if request.card is None else [{}] * ranks
    for rank, card in enumerate(cards):
        alone = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        yield {**together, **alone, **card, "RANK": str(rank), "GROUP_RANK": str(rank)}


def _visible_cards(ranks: int) -> list[dict[str, str]]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = [str(number) for number in range(ranks)] if chosen is None else [part for part in chosen.split(",") if part]
    if len(cards) < ranks:
        raise BadInput(
            f"CUDA_VISIBLE_DEVICES={chosen} names fewer than {ranks} cards, and each rank needs its own.",
            f"Name {ranks} of them, or ask for a virtual card: --card 24GiB",
        )
    return [{"CUDA_VISIBLE_DEVICES": card} for card in cards[:ranks]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
