"""The points of a sweep on Ray: actors that wait for trials, each with a process of its own that starts them.

The only file that imports Ray; `sweep.py` loads it when it is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Generator, Iterator, Sequence

import ray
from ray.util import ActorPool

from memdoctor.batch_trial import Outcome, Request, Trials
from memdoctor.foundation.errors import BadInput, MemdoctorError

_CORES_OF_A_TRIAL = 1


class _Worker:
    """Lives in a process of Ray; what it starts ends with it."""

    def __init__(self, time_limit_seconds: float) -> None:
        self._trials = Trials(time_limit_seconds=time_limit_seconds)

    def tried(self, number: int, request: Request) -> tuple[int, Outcome]:
        """A refusal travels as an outcome, because Ray wraps exceptions into its own."""
        try:
            return number, self._trials.run(request)
        except MemdoctorError as error:
            return number, Outcome(refusal=error.found, next_step=error.next_step)


def run(
    requests: Sequence[Request], time_limit_seconds: float
) -> Generator[tuple[Request, Outcome], None, None]:
    """Each request with its outcome, as they end. Raises `BadInput` as a trial does; what has not ended is given up."""
    with _cluster():
        count = min(len(requests), int(ray.cluster_resources()["CPU"]) // _CORES_OF_A_TRIAL)
        kind = ray.remote(num_cpus=_CORES_OF_A_TRIAL)(_Worker)
        workers = [kind.remote(time_limit_seconds) for _ in range(count)]
        try:
            asked = enumerate(_anywhere(request) for request in requests)
            answers = ActorPool(workers).map_unordered(lambda worker, ask: worker.tried.remote(*ask), asked)
            for number, outcome in answers:
                yield requests[number], _outcome(outcome)
        finally:
            for worker in workers:
                ray.kill(worker)


@contextlib.contextmanager
def _cluster() -> Iterator[None]:
    """The one the program is connected to, or that Ray finds, or a new one on this machine; the last two end here."""
    if ray.is_initialized():
        yield
        return
    ray.init(include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()


def _outcome(outcome: Outcome) -> Outcome:
    if outcome.refusal is not None:
        raise BadInput(outcome.refusal, outcome.next_step)
    return outcome


def _anywhere(request: Request) -> Request:
    """A worker has another working directory."""
    function = request.function
    if function is None or function.is_module:
        return request
    source = os.path.abspath(function.source)
    return dataclasses.replace(request, function=dataclasses.replace(function, source=source))
