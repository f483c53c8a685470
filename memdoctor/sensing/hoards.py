"""Memory of the host that arrays and tensors take, counted for the objects that hold them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch

from memdoctor.foundation.units import KIB
from memdoctor.sensing.edges import is_array, is_tensor

_MOST = 1_000
"""Holders that get a path; of very many the larger ones."""
LEAST_BYTES = 64 * KIB
"""Of a place that is worth a line in the recording."""


class Hoards:
    """What one search has met, by the number of the holder."""

    def __init__(self, counts: Callable[[torch.Tensor, torch.UntypedStorage], bool]) -> None:
        """`counts` is asked for each tensor with a storage on the host; arrays of numpy always count."""
        self._counts = counts
        self._bytes: Counter[int] = Counter()
        self._storages: set[int] = set()

    def meet(self, value: object, holder: int) -> None:
        """A value that nobody has met before; a storage may be met in several tensors and arrays."""
        shared = shared_tensor(value)
        if shared is not None:
            nbytes = self._storage_bytes(shared.untyped_storage())
        else:
            nbytes = self._tensor_bytes(value) if is_tensor(value) else array_bytes(value)
        if nbytes:
            self._bytes[holder] += nbytes

    def largest(self) -> Iterator[tuple[int, int]]:
        """Holders with their bytes."""
        yield from heapq.nlargest(_MOST, self._bytes.items(), key=lambda item: item[1])

    def _tensor_bytes(self, tensor: torch.Tensor) -> int:
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return 0
        storage = tensor.untyped_storage()
        return self._storage_bytes(storage) if self._counts(tensor, storage) else 0

    def _storage_bytes(self, storage: torch.UntypedStorage) -> int:
        if storage._cdata in self._storages:
            return 0
        self._storages.add(storage._cdata)
        return storage.nbytes()


def array_bytes(value: object) -> int:
    """Of a numpy array that has its memory to itself; 0 for a view, a mapped file, and everything else."""
    kind: type = type(value)
    if not is_array(kind):
        return 0
    array: Any = value
    return int(array.nbytes) if array.base is None else 0


def shared_tensor(value: object) -> torch.Tensor | None:
    """The tensor whose memory a numpy array shares, as that of `tensor.numpy()` does."""
    kind: type = type(value)
    if not is_array(kind):
        return None
    array: Any = value
    return array.base if is_tensor(array.base) else None
