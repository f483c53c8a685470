"""When a program trains, evaluates, saves and loads, and what is alive at each border.

A phase is seen at calls of models: training mode with gradients, or anything else. Counters are read only where the
phase changes. While the `with` lasts, `torch.save` and `torch.load` are ours and call the originals.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch

from memdoctor.foundation.locations import Location
from memdoctor.foundation.phases import EVAL, LOAD, SAVE, TRAIN, PhaseReading
from memdoctor.sensing.user_code import calling_line

_MOST_CHANGES = 1000
"""More often than an epoch."""

Figures = Callable[[], tuple[int, int]]
"""Allocated bytes now, and the most so far."""


@dataclass
class _Phase:
    times: int = 0
    calls: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    peak_bytes: int | None = None
    gradients: bool = False
    input_bytes: int = 0
    location: Location | None = None


class Phases:
    """Follows one run."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._originals: list[tuple[Any, str, Any]] = []
        self._phases: dict[str, _Phase] = {}
        self._running = ""
        self._peak_before_bytes = 0
        self._changes = 0
        self.last_batch = 0, 0
        """Bytes that a model was called with last, and the most that it was called with before in that phase."""

    def __enter__(self) -> Phases:
        for name in (SAVE, LOAD):
            watched = self._within(name, getattr(torch, name))
            for place in (torch, torch.serialization):
                self._originals.append((place, name, getattr(place, name)))
                setattr(place, name, watched)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place, name, original in self._originals:
            setattr(place, name, original)
        self._originals.clear()
        self._change("")

    def call(self, module: torch.nn.Module, args: Any) -> None:
        """A model is about to be called."""
        if self._changes > _MOST_CHANGES:
            return
        has_gradients, before = torch.is_grad_enabled(), self._running
        self._change(TRAIN if module.training and has_gradients else EVAL)
        phase = self._phases[self._running]
        if before != self._running:
            phase.location = calling_line(sys._getframe(1))
        phase.calls += 1
        phase.gradients = phase.gradients or has_gradients
        input_bytes = _bytes_of(args)
        self.last_batch = input_bytes, phase.input_bytes
        phase.input_bytes = max(phase.input_bytes, input_bytes)

    @property
    def readings(self) -> tuple[PhaseReading, ...]:
        """In the order in which they first came; none of a program whose phases alternate within its iterations."""
        if self._changes > _MOST_CHANGES or self._alternate():
            return ()
        return tuple(
            PhaseReading(
                name, phase.times, phase.before_bytes, phase.after_bytes, _known_peak(phase), phase.gradients,
                phase.input_bytes, phase.location,
            )
            for name, phase in self._phases.items()
        )

    def _alternate(self) -> bool:
        """True where each training is one call: a frozen teacher or a target network, called in each iteration."""
        train = self._phases.get(TRAIN, _Phase())
        return train.times > 1 and train.calls == train.times

    def _within(self, name: str, original: Any) -> Any:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            before = self._running
            self._change(name)
            try:
                return original(*args, **kwargs)
            finally:
                self._change(before, is_new=False)

        return watched

    def _change(self, name: str, *, is_new: bool = True) -> None:
        if name == self._running or self._changes > _MOST_CHANGES:
            return
        self._changes += 1
        allocated_bytes, peak_bytes = self._figures()
        if self._running:
            ended = self._phases[self._running]
            ended.after_bytes = allocated_bytes
            if peak_bytes > self._peak_before_bytes:
                ended.peak_bytes = peak_bytes
        if name and is_new:
            begun = self._phases.setdefault(name, _Phase())
            begun.times += 1
            begun.before_bytes = allocated_bytes
        self._running, self._peak_before_bytes = name, peak_bytes


def _known_peak(phase: _Phase) -> int | None:
    """A peak is seen only where it is a new one of the run; later the phase may have begun far above it."""
    if phase.peak_bytes is None or phase.peak_bytes < max(phase.before_bytes, phase.after_bytes):
        return None
    return phase.peak_bytes


def _bytes_of(args: Any) -> int:
    """Of the tensors among the arguments, and in lists and dictionaries of them."""
    if isinstance(args, torch.Tensor):
        return args.numel() * args.element_size()
    if isinstance(args, dict):
        return sum(map(_bytes_of, itertools.islice(args.values(), 100)))
    return sum(map(_bytes_of, args[:100])) if isinstance(args, (list, tuple)) else 0
