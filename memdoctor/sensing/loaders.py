"""Data loaders with worker processes: what each prepares ahead, and which processes are its workers.

While the `with` lasts, `__next__` of PyTorch's multi-process iterator is ours: it calls the original and looks once at
the first batch of each iterator. Loaders without workers are not touched.
"""

from __future__ import annotations

import itertools
import multiprocessing.process
import sys
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import dataloader

from memdoctor.foundation.host import LoaderReading
from memdoctor.sensing.host_tree import memory_limit_bytes, shm_bytes
from memdoctor.sensing.user_code import calling_line

_MANY_OBJECTS = 10_000
_DEPTH = 3
"""Data sets within data sets that are looked into: a subset of a concatenation of one's own."""

_MultiProcess: Any = dataloader._MultiProcessingDataLoaderIter


class Loaders:
    """Notes each loader once, and counts the processes that were started."""

    def __init__(self) -> None:
        self.readings: list[LoaderReading] = []
        """In the order of their first batches; alike ones once."""
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()
        self._workers_started = 0
        self._started_before = _processes_started()

    def __enter__(self) -> Loaders:
        original = _MultiProcess.__next__

        def watched_next(iterator: Any) -> Any:
            batch = original(iterator)
            if iterator not in self._seen:
                self._meet(iterator, batch)
            return batch

        _MultiProcess.__next__ = watched_next
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "__next__" in vars(_MultiProcess):
            del _MultiProcess.__next__  # it was inherited

    @property
    def pids(self) -> set[int]:
        """Of the workers that live."""
        workers = (worker for iterator in list(self._seen) for worker in getattr(iterator, "_workers", ()))
        return {worker.pid for worker in workers if worker.pid is not None}

    @property
    def other_processes(self) -> int:
        """How many processes the program has started itself, by `multiprocessing`."""
        return max(0, _processes_started() - self._started_before - self._workers_started)

    def _meet(self, iterator: Any, batch: Any) -> None:
        """Never raises: data sets and batches are the user's, and so is what they do when they are looked at."""
        self._seen.add(iterator)
        try:
            self._workers_started += len(iterator._workers)
            reading = _reading(iterator, batch)
        except Exception:
            return
        if reading not in self.readings:
            self.readings.append(reading)


def _reading(iterator: Any, batch: Any) -> LoaderReading:
    shm = shm_bytes()
    objects, count = next(_many_objects(iterator._dataset), ("", 0))
    return LoaderReading(
        workers=iterator._num_workers,
        prefetch_factor=iterator._prefetch_factor,
        batch_bytes=sum({storage._cdata: storage.nbytes() for storage in _storages(batch)}.values()),
        location=calling_line(sys._getframe(1)),
        shm_free_bytes=None if shm is None else shm[1] - shm[0],
        memory_limit_bytes=memory_limit_bytes(),
        objects=objects,
        object_count=count,
    )


def _storages(batch: Any) -> Iterator[torch.UntypedStorage]:
    if isinstance(batch, torch.Tensor):
        yield batch.untyped_storage()
    elif isinstance(batch, dict):
        yield from itertools.chain.from_iterable(map(_storages, batch.values()))
    elif isinstance(batch, (list, tuple)):
        yield from itertools.chain.from_iterable(map(_storages, batch))


def _many_objects(dataset: Any, depth: int = _DEPTH) -> Iterator[tuple[str, int]]:
    """`Images.paths` and how many: reading any of them writes its reference count, and so copies its page."""
    attributes = getattr(dataset, "__dict__", {})
    for name, value in attributes.items():
        if type(value) in (list, tuple, dict) and len(value) >= _MANY_OBJECTS:
            yield f"{type(dataset).__name__}.{name}", len(value)
    if depth:
        for inner in attributes.values():
            if isinstance(inner, torch.utils.data.Dataset):
                yield from _many_objects(inner, depth - 1)


def _processes_started() -> int:
    """By `multiprocessing`, since this process began; its counter can be looked at without moving it."""
    counter = getattr(multiprocessing.process, "_process_counter", None)
    return int(counter.__reduce__()[1][0]) if isinstance(counter, itertools.count) else 0
