"""The live storages of the virtual card, each with the allocator block that it occupies.

A block lives exactly as long as its storage: a weak reference to `tensor.untyped_storage()` sees the C++ object die.
Sizes are bytes of whole storages, because views share them.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch

from memdoctor.virtual.allocator import AllocatorOutOfMemory, Block, CachingAllocator
from memdoctor.virtual.handles import Handles
from memdoctor.virtual.history import History
from memdoctor.virtual.storage_record import Observer, StorageRecord


class _ThreadState(threading.local):
    births_are_foreign = False


class Shared:
    """What the ledgers of several cards have in common: each knows all storages, its own by their `device`."""

    def __init__(self) -> None:
        self.storages: dict[int, StorageRecord] = {}
        self.births = itertools.count()
        self.foreign: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.thread = _ThreadState()
        self.kinds: set[str] = set()
        self.ledgers: list[Ledger] = []


class Ledger:
    """Gives storages their blocks and takes them back.

    Storages die in any thread and in the middle of any line, also inside the allocator when the collector runs there:
    a death that finds the allocator busy waits until the next call. The program's own finalizers may ask for memory or
    counters from there; the lock lets their thread pass, and nothing is changed under the running call.
    """

    def __init__(
        self, make_allocator: Callable[[], CachingAllocator], device: int = 0, shared: Shared | None = None
    ) -> None:
        shared = Shared() if shared is None else shared
        self.device = device
        self.observer: Observer | None = None
        self.operator: Any = None
        """What runs; kept up to date while there is an observer."""
        self.allocator = make_allocator()
        self.fraction = 1.0
        self.birth_count = 0
        self.stream = 0
        self.handles = Handles()
        self.history: History | None = None
        """Kept from `_record_memory_history()` on."""
        self.kinds = shared.kinds
        """Of `precision.py`: what has run that is not known to the byte."""
        self.knows_foreign = False
        """Whether the user has ever put tensors on PyTorch's own meta device; asked before every operator."""
        self.storages: Mapping[int, StorageRecord] = shared.storages
        """Live storages by `untyped_storage()._cdata`."""
        self._storages = shared.storages
        self._births = shared.births
        self._foreign = shared.foreign
        self._thread = shared.thread
        self._ledgers = shared.ledgers
        self._ledgers.append(self)
        self._lock = threading.RLock()
        self._is_busy = False
        self._waiting: list[Block] = []
        self._held: dict[Hashable, Block] = {}
        self._on_death = self._bury

    @property
    def births_are_foreign(self) -> bool:
        return self._thread.births_are_foreign

    def is_foreign(self, tensor: torch.Tensor) -> bool:
        """Whether a meta tensor is the user's own, and takes nothing on the card."""
        return bool(self._foreign) and tensor.untyped_storage()._cdata in self._foreign

    @contextlib.contextmanager
    def foreign_births(self) -> Iterator[None]:
        """Within, this thread's new meta tensors are the user's own."""
        for ledger in self._ledgers:
            ledger.knows_foreign = True
        before, self._thread.births_are_foreign = self._thread.births_are_foreign, True
        try:
            yield
        finally:
            self._thread.births_are_foreign = before

    def leave_out(self, storage: torch.UntypedStorage) -> None:
        """Note a storage of the user's own meta device, unless it is the card's or has been noted."""
        key = storage._cdata
        if key not in self._storages and key not in self._foreign:
            self._foreign[key] = weakref.ref(storage, lambda _: self._foreign.pop(key, None))

    def admit(self, storage: torch.UntypedStorage, tensor: torch.Tensor | None = None) -> StorageRecord:
        """Give a storage that is not in the ledger its block; raises `torch.OutOfMemoryError` and changes nothing.

        `tensor` is the one that the storage was made for, where there is one.
        """
        nbytes = storage.nbytes()
        block = self.malloc(nbytes, tensor) if nbytes else None
        record = StorageRecord(storage, self._on_death)
        record.key = storage._cdata
        record.birth = next(self._births)
        record.nbytes = nbytes
        record.device = self.device
        record.block = block
        record.known = None
        observer = self.observer
        if observer is None:
            record.tag = 0
        else:
            operator = self.operator if tensor is not None else None
            record.tag = observer.born(record, tensor, operator, self.allocator.allocated_bytes)
        self.birth_count += 1
        self._storages[record.key] = record
        return record

    def resize(self, record: StorageRecord, nbytes: int) -> None:
        """Follow a storage that was grown or shrunk in place: the new block is taken before the old one is freed."""
        old, record.block = record.block, self.malloc(nbytes) if nbytes else None
        record.nbytes = nbytes
        record.known = None
        if old is not None:
            self.free(old)

    def malloc(self, nbytes: int, tensor: torch.Tensor | None = None) -> Block:
        """Take a block on the current stream, also for memory that no tensor owns (workspaces, scratch)."""
        try:
            return self._take(nbytes)
        except AllocatorOutOfMemory as error:
            shortage = error.with_traceback(None)
        if self.history is not None:
            self.history.note_refusal(nbytes, shortage.free_bytes, self.stream)
        if self.observer is not None:
            self.observer.refused(nbytes, tensor, self.operator if tensor is not None else None, shortage)
        raise torch.OutOfMemoryError(str(shortage))

    def _take(self, nbytes: int, *, is_optional: bool = False) -> Block:
        with self._lock:
            self._free_waiting()
            was_busy, self._is_busy = self._is_busy, True
            try:
                block = self.allocator.malloc(nbytes, self.stream, is_optional)
                if self.history is not None:
                    self.history.note("alloc", block)
                return block
            finally:
                self._is_busy = was_busy

    def borrow(self, nbytes: int) -> None:
        """Take a block and give it back at once; refused, a library does with less, and that counts nowhere."""
        if not nbytes:
            return
        try:
            block = self._take(nbytes, is_optional=True)
        except AllocatorOutOfMemory:
            return
        if self.observer is not None:
            self.observer.grew(self.allocator.allocated_bytes)
        self.free(block)

    def hold(self, key: Hashable, nbytes: int) -> None:
        """Take a block that is never given back, once per key: the workspace of a library."""
        if key not in self._held:
            self._held[key] = self.malloc(nbytes)
            if self.observer is not None:
                self.observer.grew(self.allocator.allocated_bytes)

    @contextlib.contextmanager
    def scratch(self, sizes: Sequence[int]) -> Iterator[None]:
        """Blocks for the time of an operator, given back in reverse order as C++ destroys its locals."""
        blocks: list[Block] = []
        try:
            for nbytes in sizes:
                blocks.append(self.malloc(nbytes))
            if blocks and self.observer is not None:
                self.observer.grew(self.allocator.allocated_bytes)
            yield
        finally:
            while blocks:
                self.free(blocks.pop())

    def free(self, block: Block) -> None:
        """Return a block; from inside the allocator (a collection in the middle of `malloc`) it is only noted."""
        if self._is_busy or not self._lock.acquire(blocking=False):
            self._waiting.append(block)
            return
        self._is_busy = True
        try:
            self._give_back(block)
        finally:
            self._is_busy = False
            self._lock.release()

    def _give_back(self, block: Block) -> None:
        if self.history is not None:
            self.history.note("free_requested", block)
            self.history.note("free_completed", block)
        self.allocator.free(block)

    def limit_to(self, fraction: float) -> None:
        """As `torch.cuda.set_per_process_memory_fraction`; what is reserved already stays."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
        self.change(lambda allocator: allocator.limit_to(fraction))
        self.fraction = fraction

    def record_stream(self, storage: torch.UntypedStorage, stream: int) -> None:
        """Another stream uses the storage too: its block is reused only after that stream has come so far."""
        record = self._storages.get(storage._cdata)
        if record is not None and record.block is not None:
            block = record.block
            self.change(lambda allocator: allocator.record_stream(block, stream))

    def settle(self) -> CachingAllocator:
        """The allocator with every death so far accounted for."""
        with self._lock:
            self._free_waiting()
        return self.allocator

    def change(self, act: Callable[[CachingAllocator], object]) -> None:
        """Let the program act on the allocator (`empty_cache`), unless it does so in the middle of a call."""
        with self._lock:
            self._free_waiting()
            if not self._is_busy:
                act(self.allocator)

    def _free_waiting(self) -> None:
        while self._waiting and not self._is_busy:
            self._is_busy = True
            try:
                self._give_back(self._waiting.pop())
            finally:
                self._is_busy = False

    def _bury(self, record: StorageRecord) -> None:
        if self._storages.get(record.key) is record:
            del self._storages[record.key]
        if self.observer is not None:
            self.observer.died(record)
        if record.block is not None:
            self.free(record.block)


def snapshot(ledgers: Sequence[Ledger]) -> dict[str, Any]:
    """As `torch.cuda.memory._snapshot()`."""
    return {
        "segments": [segment for ledger in ledgers for segment in ledger.settle().snapshot()],
        "device_traces": [[] if ledger.history is None else ledger.history.entries for ledger in ledgers],
        "allocator_settings": {},
    }
