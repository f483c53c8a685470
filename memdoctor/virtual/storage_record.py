"""A live storage of the virtual card, and who wants to hear of it."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

import torch

from memdoctor.virtual.allocator import AllocatorOutOfMemory, Block
from memdoctor.virtual.allocator_settings import BLOCK_BYTES


class StorageRecord(weakref.ref[torch.UntypedStorage]):
    """One live storage of the card; weak, so that observing it never keeps it alive."""

    __slots__ = ("key", "birth", "nbytes", "device", "block", "known", "tag")

    key: int
    """`untyped_storage()._cdata`: unique among live storages, reused after death."""
    birth: int
    """Sequence number of the allocation, counted over all cards."""
    nbytes: int
    """Bytes that the storage asked for."""
    device: int
    """The number of the card that it is on."""
    block: Block | None
    """None for an empty storage, which takes no block."""
    known: torch.UntypedStorage | None
    """Host copy with the exact contents, where they are known (`values.py`)."""
    tag: int
    """What the observer of the ledger said of its birth; 0 without one."""

    @property
    def block_bytes(self) -> int:
        """`nbytes` rounded up to allocator blocks of 512 bytes."""
        return -(-self.nbytes // BLOCK_BYTES) * BLOCK_BYTES


class Observer(Protocol):
    """Told of what happens on the card, in the thread and in the middle of the line where it does; must not raise.

    `tensor` is what the storage is for and `operator` what makes it, an `OpOverload`; both are None for a storage that
    is read from a file. `allocated_bytes` are those of the whole card, with what is told.
    """

    def born(
        self, record: StorageRecord, tensor: torch.Tensor | None, operator: Any, allocated_bytes: int
    ) -> int:
        """A storage has its block; the answer becomes its tag."""

    def grew(self, allocated_bytes: int) -> None:
        """Blocks were taken that no tensor owns."""

    def died(self, record: StorageRecord) -> None:
        """A storage is gone; its block is about to be free. May come in the middle of anything."""

    def refused(
        self, nbytes: int, tensor: torch.Tensor | None, operator: Any, shortage: AllocatorOutOfMemory
    ) -> None:
        """The card is full, and nothing has been unwound yet."""
