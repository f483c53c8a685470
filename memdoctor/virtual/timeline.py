"""What the cards held after each optimizer step; a program without an optimizer has no readings."""

from __future__ import annotations

import itertools
import os
import time
from array import array
from collections.abc import Callable
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from memdoctor.foundation.readings import MemoryReading, Timeline, thinned

_MOST = 1_000
"""Readings that a long program is left with."""
_NUMBERS = ("step", "microseconds", "host_bytes", "allocated_bytes", "reserved_bytes", "peak_bytes", "live_bytes")


class StepReadings:
    """A `with` around the program; costs some microseconds a step, and leaves no object that the collector counts."""

    def __init__(self, counters: Callable[[], tuple[int, int, int, int]]) -> None:
        """`counters` gives the bytes that the cards know: allocated, reserved, peak and live."""
        self._counters = counters
        self._numbers = array("q")
        """All readings, one after the other."""
        self._steps = 0
        self._start = time.perf_counter()

    def __enter__(self) -> StepReadings:
        self._hook: Any = register_optimizer_step_post_hook(self._after_step)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    @property
    def timeline(self) -> Timeline:
        """Until now."""
        return Timeline(tuple(_reading(self._row(index)) for index in range(self._count)))

    @property
    def _count(self) -> int:
        return len(self._numbers) // len(_NUMBERS)

    def _row(self, index: int) -> array[int]:
        return self._numbers[index * len(_NUMBERS):(index + 1) * len(_NUMBERS)]

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        microseconds = int(1e6 * (time.perf_counter() - self._start))
        self._numbers.extend((self._steps, microseconds, _resident_bytes(), *self._counters()))
        self._steps += 1
        if self._count >= 2 * _MOST:
            kept = thinned(range(self._count), _MOST, lambda index: self._row(index)[_NUMBERS.index("allocated_bytes")])
            self._numbers = array("q", itertools.chain.from_iterable(map(self._row, kept)))


def _reading(row: array[int]) -> MemoryReading:
    numbers = dict(zip(_NUMBERS, row))
    return MemoryReading(phase="train", seconds=numbers.pop("microseconds") / 1e6, **numbers)


def _resident_bytes() -> int:
    """0 where the system has no /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
