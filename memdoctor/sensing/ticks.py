"""Which iteration a storage was born in, and what the youngest storages say about growth.

A ledger numbers its storages; the number that the next one would get, noted at each iteration boundary, tells the
iteration of every storage later. Ledgers list their storages in the order of birth, which keeps a reading short: it
starts at the youngest and stops at those of the first iterations (model, optimizer state, caches).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from typing import Protocol

from memdoctor.foundation.looks import Survivor


MOST_TICKS = 16_384
"""Iterations whose borders are kept: watching takes no more memory the longer it lasts."""


class StorageRecord(Protocol):
    """One live storage of a device."""

    @property
    def birth(self) -> int:
        """Its number among all allocations."""

    @property
    def nbytes(self) -> int:
        """Bytes of the whole storage."""

    @property
    def block_bytes(self) -> int:
        """Rounded up as the caching allocator does."""


class Ledger(Protocol):
    """A device that knows its live storages: the virtual card, or a census of the heap."""

    @property
    def storages(self) -> Mapping[int, StorageRecord]:
        """By `untyped_storage()._cdata`, in order of birth."""

    @property
    def birth_count(self) -> int:
        """The number that the next storage will get."""


class Ticks:
    """The iteration boundaries of one unit."""

    def __init__(self, first: int) -> None:
        """`first` is the first iteration that counts: those before it make what stays for good reasons."""
        self._first = first
        self._births = array("q")
        """How many there had been at the end of each iteration that had some."""
        self._numbers = array("q")
        self._steps = array("q")
        """The numbers of those iterations, and their steps of the whole run."""
        self.last = -1
        """Number of the iteration that has just ended, from 0."""
        self._last_step = 0

    def mark(self, birth_count: int, step: int) -> None:
        """An iteration has ended."""
        self.last += 1
        self._last_step = step
        if not self._births or birth_count != self._births[-1]:
            self._births.append(birth_count)
            self._numbers.append(self.last)
            self._steps.append(step)
            if len(self._births) > MOST_TICKS:
                for column in (self._births, self._numbers, self._steps):
                    del column[:MOST_TICKS // 2:2]

    def of(self, birth: int) -> int:
        """The iteration in which the storage was born; in a very long run, of old ones, one soon after it."""
        place = bisect_right(self._births, birth)
        return self._numbers[place] if place < len(self._births) else self.last + 1

    def is_early(self, birth: int) -> bool:
        """Born in the first iterations, or before."""
        return self.of(birth) < self._first

    def is_survivor(self, birth: int) -> bool:
        """Born after the first iterations and old enough: the variables of the last one are still bound."""
        return self._first <= self.of(birth) <= self.last - 2

    def survivor(self, record: StorageRecord) -> Survivor:
        """The record with its iteration."""
        place = bisect_right(self._births, record.birth)
        step = self._steps[place] if place < len(self._births) else self._last_step
        return Survivor(record.birth, self.of(record.birth), step, record.nbytes, record.block_bytes)

    def young(self, ledger: Ledger) -> list[tuple[int, StorageRecord]]:
        """Live storages born after the first iterations, by their keys, youngest first."""
        storages = ledger.storages
        young: list[tuple[int, StorageRecord]] = []
        for key in reversed(list(storages)):  # a copy at once, because other threads give birth too; keys are cheap
            record = storages.get(key)
            if record is not None and self.is_early(record.birth):
                break
            if record is not None:
                young.append((key, record))
        return young
