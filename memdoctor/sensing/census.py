"""Live storages of a device that keeps no ledger: those that the user's variables reach, counted at a few iterations.

A real card tells how many bytes are allocated, the host not even that; neither tells which storages. Here the heap is
walked at iterations 2, 5, 10, 20, 40, ..., and at every check once more is reached than the last time. A storage then
counts as born where it was first met. Nothing is kept but weak references.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import torch

from memdoctor.sensing.budget import Budget
from memdoctor.sensing.owners import OwnerSearch, undisturbed
from memdoctor.sensing.roots import user_roots

_PROBES = (2, 5)
"""The first at the end of what is allocated for good reasons; from the second on the distance doubles."""
_MAX_OBJECTS = 200_000
_FREE_SECONDS = 4.0
"""Processor time of the counts that need not wait for their share: short programs need a dozen close together."""
_BLOCK_BYTES = {"cuda": 512}
"""`kMinBlockSize` of c10/core/AllocatorConfig.h; elsewhere storages are not rounded."""


class CountedStorage(weakref.ref[torch.UntypedStorage]):
    """One storage that was met; weak, so that counting it never keeps it alive."""

    __slots__ = ("key", "birth", "nbytes", "block_bytes")

    key: int
    birth: int
    nbytes: int
    block_bytes: int


class Census:
    """A ledger (see `ticks.py`) that must be told when to look: `update` at each iteration."""

    def __init__(self, device_type: str) -> None:
        """`device_type` as in `torch.device.type`: `cuda` or `cpu`."""
        self.device_type = device_type
        self._block_bytes = _BLOCK_BYTES.get(device_type, 1)
        self._storages: dict[int, CountedStorage] = {}
        self._bury = self._remove
        self.birth_count = 0
        self._updates = 0
        self._next_probe = _PROBES[0]
        self._reached_bytes = 0
        self._before_bytes: int | None = None
        self._rises = False
        self._budget = Budget(_FREE_SECONDS)

    @property
    def storages(self) -> Mapping[int, CountedStorage]:
        """By `untyped_storage()._cdata`, in the order in which they were met."""
        return self._storages

    def update(self, *, is_check: bool, evaluates: bool = False, reads_graphs: bool = True) -> None:
        """An iteration has ended. `is_check` marks those at which growth is looked at, denser at first.

        An evaluation is short, and is counted from its first check on.

        `reads_graphs` is false while other threads train: see `OwnerSearch`.
        """
        self._updates += 1
        if self._updates >= self._next_probe:
            self._next_probe = _PROBES[1] if self._updates < _PROBES[1] else 2 * self._updates
            self._count(reads_graphs)
            self._rises = self._before_bytes is not None and self._reached_bytes > self._before_bytes
            self._before_bytes = self._reached_bytes
        elif is_check and (self._rises or evaluates) and self._budget.is_open:
            self._count(reads_graphs)

    def bytes_of(self, storage: torch.UntypedStorage) -> int:
        """Its blocks on this device; 0 if it is elsewhere."""
        if storage.device.type != self.device_type:
            return 0
        return -(-storage.nbytes() // self._block_bytes) * self._block_bytes

    def _count(self, reads_graphs: bool) -> None:
        self._reached_bytes = 0
        with self._budget.spending(), undisturbed():
            OwnerSearch(self._meet, max_objects=_MAX_OBJECTS, reads_graphs=reads_graphs).search(user_roots())

    def _meet(self, tensor: torch.Tensor, storage: torch.UntypedStorage) -> None:
        if tensor.device.type != self.device_type:
            return
        record = self._storages.get(storage._cdata) or self._register(storage)
        self._reached_bytes += record.block_bytes

    def _register(self, storage: torch.UntypedStorage) -> CountedStorage:
        record = CountedStorage(storage, self._bury)
        record.key, record.birth, record.nbytes = storage._cdata, self.birth_count, storage.nbytes()
        record.block_bytes = self.bytes_of(storage)
        self.birth_count += 1
        self._storages[record.key] = record
        return record

    def _remove(self, record: CountedStorage) -> None:
        if self._storages.get(record.key) is record:
            del self._storages[record.key]
