"""Follows every storage of a virtual card, so that what was alive at the peak, or when the card refused, can be told.

The peak is known only once it has passed. From each new maximum on, the deaths of what was alive then are noted until
the next one; with what still lives they are the peak, exactly, for one comparison a birth and no copy.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch

from memdoctor.foundation.breakdown import BACKWARD, FORWARD, GRADIENTS, Birthmark, Crash, Holding
from memdoctor.foundation.locations import Location
from memdoctor.sensing.models import Models, Role
from memdoctor.sensing.operands import running_tensors
from memdoctor.sensing.owners import undisturbed
from memdoctor.sensing.sites import Sites


class Block(Protocol):
    """A piece of the card."""

    size_bytes: int


class StorageRecord(Protocol):
    """One storage of the card."""

    birth: int
    nbytes: int
    tag: int
    device: int

    @property
    def block(self) -> Block | None:
        """None for an empty storage."""


class Card(Protocol):
    """A card that knows its storages."""

    @property
    def storages(self) -> Mapping[int, StorageRecord]:
        """By `untyped_storage()._cdata`."""

    @property
    def birth_count(self) -> int:
        """The number that the next storage will get."""


class Shortage(Protocol):
    """What the allocator says when it refuses."""

    device: int
    free_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    total_bytes: int
    allowed_bytes: int | None


class Refusal(NamedTuple):
    """The card was full: what the allocator said, where the program was, and what was alive."""

    message: str
    crash: Crash
    holdings: list[Holding]


class Births:
    """The observer of a virtual card's ledger; called in the middle of any line, and never raises into it."""

    def __init__(
        self, card: Card, models: Models, sites: Sites, on_refusal: Callable[[Refusal], None] = lambda refusal: None
    ) -> None:
        """`on_refusal` is told before the error exists that the program will get."""
        self._card = card
        self._on_refusal = on_refusal
        self._models = models
        self._sites = sites
        self._dead = array("q")
        """Birth, bytes, block bytes and tag of each storage that was alive at the peak and is gone."""
        self._stepped_births = 0
        """How many there were at the end of the last iteration."""
        self._peak_births = 0
        self._peak_stepped_births = 0
        self.peak_bytes = 0
        self.refusal: Refusal | None = None
        """The last one; the program may have caught it."""
        self.refusals = 0
        self.refused_at: Counter[Location] = Counter()
        """How often at which of the user's lines."""
        self._refused_births = 0
        """How many there were at the last refusal."""
        self.failure: Exception | None = None
        """The first defect of memdoctor's own; from then on marks are missing."""

    def born(
        self, record: StorageRecord, tensor: torch.Tensor | None, operator: Any, allocated_bytes: int
    ) -> int:
        try:
            self._compare(record.birth + 1, allocated_bytes)
            return self._sites.tag(tensor, operator)
        except Exception as error:
            self.failure = self.failure or error
            return 0

    def grew(self, allocated_bytes: int) -> None:
        self._compare(self._card.birth_count, allocated_bytes)

    def died(self, record: StorageRecord) -> None:
        if record.birth < self._peak_births and record.block is not None:
            self._dead.extend((record.birth, record.nbytes, record.block.size_bytes, record.tag))

    def refused(self, nbytes: int, tensor: torch.Tensor | None, operator: Any, shortage: Shortage) -> None:
        try:
            with undisturbed():
                mark = self._sites.mark(self._sites.tag(tensor, operator))
                crash = replace(self._crash(nbytes, mark, shortage), retried_bytes=self._retried_bytes())
                if crash.call is not None:
                    self.refused_at[crash.call] += 1
                self.refusal = Refusal(str(shortage), crash, self._on(shortage.device))
                self._on_refusal(self.refusal)
        except Exception as error:
            self.failure = self.failure or error
        self._refused_births = self._card.birth_count
        self.refusals += 1

    def iteration_ended(self) -> None:
        """What backward has made until now and is alive are gradients."""
        self._stepped_births = self._card.birth_count

    def alive(self) -> list[Holding]:
        """What is alive now."""
        with undisturbed():
            return self._alive()

    def at_peak(self) -> list[Holding]:
        """What was alive at the largest figure so far; roles are those of now."""
        with undisturbed():
            gone = self._dead
            dead = [self._gone(*gone[at:at + 4]) for at in range(0, len(gone), 4)]
            return self._alive(self._peak_births) + dead

    def _compare(self, births: int, allocated_bytes: int) -> None:
        if allocated_bytes > self.peak_bytes:
            self.peak_bytes, self._peak_births = allocated_bytes, births
            self._peak_stepped_births = self._stepped_births
            del self._dead[:]

    def _alive(self, births: int | None = None) -> list[Holding]:
        """Live storages, or those of them that are among the first so many births."""
        roles = self._models.roles()
        return [
            self._holding(record, roles.get(key)) for key, record in list(self._card.storages.items())
            if births is None or record.birth < births
        ]

    def _on(self, device: int) -> list[Holding]:
        """Live storages of the card that is full."""
        roles = self._models.roles()
        return [
            self._holding(record, roles.get(key)) for key, record in list(self._card.storages.items())
            if record.device == device
        ]

    def _holding(self, record: StorageRecord, role: Role | None) -> Holding:
        block_bytes = record.block.size_bytes if record.block is not None else 0
        mark = self._sites.mark(record.tag)
        return Holding(record.nbytes, block_bytes, mark, *(role or ()))

    def _gone(self, birth: int, nbytes: int, block_bytes: int, tag: int) -> Holding:
        """Gradients that were still alive at the peak, since nothing had zeroed them, have no parameter any more."""
        mark = self._sites.mark(tag)
        is_gradient = mark.phase == BACKWARD and birth < self._peak_stepped_births
        return Holding(nbytes, block_bytes, mark, GRADIENTS if is_gradient else "")

    def _retried_bytes(self) -> int:
        """Of the attempt before, if its error is still being handled: the traceback keeps its frames alive."""
        if not isinstance(sys.exc_info()[1], torch.OutOfMemoryError):
            return 0
        before = [each for each in self._alive(self._refused_births) if not each.role]
        return sum(each.block_bytes for each in before if each.mark.phase in (FORWARD, BACKWARD) or each.mark.followed)

    def _crash(self, nbytes: int, mark: Birthmark, shortage: Shortage) -> Crash:
        return Crash(
            request_bytes=nbytes,
            allocated_bytes=shortage.allocated_bytes,
            reserved_bytes=shortage.reserved_bytes,
            free_bytes=shortage.free_bytes,
            total_bytes=shortage.total_bytes,
            limit_bytes=shortage.allowed_bytes,
            mark=mark,
            call=self._sites.call(),
            gradients_in_evaluation=self._sites.gradients_in_evaluation(),
            tensors=running_tensors(sys._getframe()),
        )
