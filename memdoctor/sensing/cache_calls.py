"""Calls of `torch.cuda.empty_cache()`, and how often PyTorch had to empty its cache by itself.

While the `with` lasts the function is ours: it calls the original between two readings of the reserved bytes. A program
that took the function by its name before is not seen.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import torch

from memdoctor.foundation.host import CacheUse
from memdoctor.foundation.locations import Location
from memdoctor.sensing.user_code import calling_line

_PLACES: tuple[Any, ...] = (torch.cuda, torch.cuda.memory)


class CacheCalls:
    """Counts until its `with` ends."""

    def __init__(self) -> None:
        self._originals: list[tuple[Any, Any]] = []
        self._strain_before = card_strain()
        self._strain = self._strain_before
        self._empties = self._iterations = self._returned_bytes = 0
        self._seconds = 0.0
        self._location: Location | None = None
        self._was_called = False

    def __enter__(self) -> CacheCalls:
        self._originals = [(place, place.empty_cache) for place in _PLACES]
        original = torch.cuda.empty_cache

        def watched_empty_cache() -> None:
            before, began = _reserved_bytes(), time.perf_counter()
            original()
            self._note(before - _reserved_bytes(), time.perf_counter() - began)

        for place in _PLACES:
            place.empty_cache = watched_empty_cache
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place, original in self._originals:
            place.empty_cache = original
        self._originals.clear()
        self._strain = card_strain()

    def iteration_ended(self) -> None:
        """What was called until now belongs to this iteration."""
        self._iterations += self._was_called
        self._was_called = False

    @property
    def use(self) -> CacheUse:
        """Of the whole run."""
        return CacheUse(
            retries=max(0, self._strain[0] - self._strain_before[0]),
            empties=self._empties,
            emptied_iterations=self._iterations,
            returned_bytes=self._returned_bytes,
            seconds=round(self._seconds, 6),
            location=self._location,
        )

    @property
    def refusals(self) -> int:
        """How often the card was full, whether the program caught it or not."""
        return max(0, card_strain()[1] - self._strain_before[1])

    def _note(self, returned_bytes: int, seconds: float) -> None:
        if not self._empties:
            self._location = calling_line(sys._getframe(2))
        self._empties += 1
        self._was_called = True
        self._returned_bytes += max(0, returned_bytes)
        self._seconds += seconds


def card_strain() -> tuple[int, int]:
    """`num_alloc_retries` and `num_ooms` of the current card; zeros for a program that has not used one."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # untyped in torch
        return 0, 0
    stats = torch.cuda.memory_stats()
    return int(stats.get("num_alloc_retries", 0)), int(stats.get("num_ooms", 0))


def _reserved_bytes() -> int:
    """0, and no context is made, while the program has not used a card."""
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # untyped in torch
    return int(torch.cuda.memory_reserved()) if in_use else 0
