"""What the cards held after each optimizer step; a program without an optimizer has no readings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from memdoctor.foundation.readings import MemoryReading, Timeline, thinned

_MOST = 1_000
"""Readings that a long program is left with: 0.2 MiB."""


class StepReadings:
    """A `with` around the program; costs some microseconds a step."""

    def __init__(self, counters: Callable[[], dict[str, int]]) -> None:
        """`counters` gives the fields of a `MemoryReading` that the cards know."""
        self._counters = counters
        self._readings: list[MemoryReading] = []
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
        return Timeline(tuple(self._readings))

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        seconds = round(time.perf_counter() - self._start, 6)
        self._readings.append(MemoryReading(
            step=self._steps, phase="train", seconds=seconds, host_bytes=_resident_bytes(), **self._counters()))
        self._steps += 1
        if len(self._readings) >= 2 * _MOST:
            self._readings = thinned(self._readings, _MOST, lambda reading: reading.allocated_bytes)


def _resident_bytes() -> int:
    """0 where the system has no /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
