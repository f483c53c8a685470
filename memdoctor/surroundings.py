"""What is around the tensors of a run: host memory and processes, data loaders, the cache of the card."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.host import CacheUse, HostReading, LoaderReading
from memdoctor.foundation.phases import PhaseReading
from memdoctor.sensing.allocator import NO_COUNTERS, cuda_in_use
from memdoctor.sensing.cache_calls import CacheCalls
from memdoctor.sensing.host_tree import read_host
from memdoctor.sensing.loaders import Loaders
from memdoctor.sensing.phases import Phases
from memdoctor.virtual.gpu import current_gpu

Surrounding = HostReading | LoaderReading | CacheUse | PhaseReading | Skipped

_FIRST = 6
"""Readings close together, so that short programs show which way their workers go."""
_SECONDS_BETWEEN_FIRST = 0.25
_SECONDS_BETWEEN = 1.0
_SHARE_OF_TIME = 0.002
"""That reading the process tree may take; a process of very many gigabytes is read more rarely."""
_SHARE_OF_RUN = 0.002
"""That lies between two readings at least: a day has some 2,500 of them, and the last is not far from the end."""


class Surroundings:
    """Follows one run; `open` and `close` once each."""

    def __init__(self, add: Callable[[Surrounding], None]) -> None:
        """`add` is given what is read while the program runs."""
        self._add = add
        self._loaders = Loaders()
        self._cache = CacheCalls()
        self._phases = Phases(_allocated_and_peak)
        self.call = self._phases.call
        """To be told of each outermost module that is called."""
        self._open = contextlib.ExitStack()
        self._began = time.monotonic()
        self._next_reading = 0.0
        self._count = 0

    def open(self) -> None:
        """Begin to watch."""
        self._open.enter_context(self._loaders)
        self._open.enter_context(self._cache)
        self._open.enter_context(self._phases)

    def close(self) -> None:
        """Everything that was replaced is put back."""
        self._open.close()

    def iteration_ended(self, step: int) -> None:
        """Most iterations cost a look at the clock."""
        self._cache.iteration_ended()
        if time.monotonic() >= self._next_reading:
            self._read(step)

    def at_the_end(self, step: int) -> Iterator[Surrounding]:
        """What is known only then."""
        if self._next_reading < math.inf:
            self._read(step)
        self._cache.iteration_ended()
        yield from self._loaders.readings
        yield from self._phases.readings
        if self._cache.use != CacheUse():
            yield self._cache.use
        others = self._loaders.other_processes
        if others:
            processes = "a process" if others == 1 else f"{others} processes"
            yield Skipped(f"{processes} that the program has started", "only their host memory was watched")

    def survived_refusals(self, *, ended_by_one: bool) -> int:
        """How often a real card was full without ending the run, as PyTorch counts it."""
        return max(0, self._cache.refusals - ended_by_one)

    @property
    def last_batch(self) -> tuple[int, int]:
        """Bytes that a model was called with last, and the most that it was called with before in that phase."""
        return self._phases.last_batch

    def _read(self, step: int) -> None:
        began = time.perf_counter()
        try:
            self._add(read_host(step, self._loaders.pids))
        except Exception as error:  # a system that tells less than Linux does; the rest of the run is watched
            self._add(Skipped("the host's side", f"it could not be read at iteration {step}: {error!r}"))
            self._next_reading = math.inf
            return
        seconds = time.perf_counter() - began
        self._count += 1
        now = time.monotonic()
        wait = max(_SECONDS_BETWEEN, seconds / _SHARE_OF_TIME, _SHARE_OF_RUN * (now - self._began))
        self._next_reading = now + (_SECONDS_BETWEEN_FIRST if self._count < _FIRST else wait)


def _allocated_and_peak() -> tuple[int, int]:
    """Of the card that the program uses; zeros without one."""
    gpu = current_gpu()
    if gpu is not None:
        return gpu.allocated_bytes, gpu.max_allocated_bytes
    card = cuda_in_use()
    counters = card.counters() if card is not None else NO_COUNTERS
    return counters.allocated_bytes, counters.peak_allocated_bytes
