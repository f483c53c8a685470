"""What is read of the card while a program trains, from step to step, until it has shown enough."""

from __future__ import annotations

import time

from memdoctor.batch_trial import STEPS, WARM_UP, Shapes
from memdoctor.sensing.call_shapes import CallShapes
from memdoctor.sensing.current_card import CurrentCard
from memdoctor.virtual.gpu import VirtualGPU


class Enough(BaseException):
    """Ends a program that has run its steps; no `except Exception` of the program holds it up."""


class Gauge:
    """Told of each step's end; the process is a trial's, so the card's peak may be reset between steps."""

    def __init__(self, card: CurrentCard, gpu: VirtualGPU | None, call_shapes: CallShapes) -> None:
        self._card = card
        self._gpu = gpu
        self._call_shapes = call_shapes
        self._started = self._warm = time.perf_counter()
        self._warm_retries = 0
        self.steps = 0
        self.shapes: list[Shapes] = []
        self.first_peak_bytes = 0
        self.warm_up_requests = 0

    @property
    def is_done(self) -> bool:
        """Whether the program has run all its steps."""
        return self.steps >= STEPS

    @property
    def peak_bytes(self) -> int:
        """The most that was allocated in any step, and before the first."""
        return max(self.first_peak_bytes, self._card.peak_bytes())

    @property
    def retries(self) -> int:
        """How often PyTorch emptied its cache for want of memory, after the warm-up."""
        return self._card.count("num_alloc_retries") - self._warm_retries if self.steps > WARM_UP else 0

    @property
    def was_full(self) -> bool:
        """Whether an allocation failed, also one whose error the program caught."""
        return self._card.count("num_ooms") > 0

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return round(time.perf_counter() - self._started, 3)

    @property
    def step_seconds(self) -> float | None:
        """Of each step after the warm-up; None before there was one, and on a virtual card, which computes nothing."""
        if self._gpu is not None or self.steps <= WARM_UP:
            return None
        return round((time.perf_counter() - self._warm) / (self.steps - WARM_UP), 6)

    def step_ended(self) -> None:
        """Read what this step was the first, or the last of its kind, to show."""
        self.steps += 1
        shapes = self._call_shapes.taken()
        if self.steps == 1:
            self.first_peak_bytes = self._card.peak_bytes()
            self._card.reset_peak()
        else:
            self.shapes.append(shapes)
        if self.steps == WARM_UP:
            self._end_warm_up()
        if self.is_done:
            self._card.wait()

    def step_ended_for_good(self) -> None:
        """The same for a program that has to be stopped: raises `Enough` after the last step."""
        self.step_ended()
        if self.is_done:
            raise Enough

    def _end_warm_up(self) -> None:
        self._card.wait()
        self._warm = time.perf_counter()
        self._warm_retries = self._card.count("num_alloc_retries")
        self.warm_up_requests = len((self._gpu.requests if self._gpu is not None else None) or ())
