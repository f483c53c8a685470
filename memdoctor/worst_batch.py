"""The batch of a loader that needs most: where lengths vary, a batch size that fits the first batch proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from memdoctor.foundation.errors import BadInput
from memdoctor.sensing.random_state import kept_random_state

_Batch = TypeVar("_Batch")


def worst_batch(loader: Iterable[_Batch], *, key: Callable[[_Batch], Any] | None = None) -> _Batch:
    """The batch for which `key` is largest, after one look at each; without a key, the most bytes of tensors.

    ::

        batch = memdoctor.worst_batch(loader, key=lambda batch: batch["input_ids"].numel())

    Memory may depend on two lengths at once, as those of a sound and of its text: give their product, or ask for each.
    The loader draws no other random numbers afterwards than it would have without.

    Raises `BadInput` for a loader without a batch, and for one that can be read only once.
    """
    if isinstance(loader, Iterator):
        raise BadInput(f"{type(loader).__name__} can be read only once.", "Give the loader itself: worst_batch(loader)")
    with kept_random_state():
        worst = max(loader, key=key or _nbytes, default=None)
    if worst is None:
        raise BadInput("the loader gave no batch.", "Is its data set empty, or smaller than a batch with drop_last?")
    return worst


def _nbytes(batch: Any) -> int:
    """Of all tensors and arrays in it, however they are nested."""
    if isinstance(batch, Mapping):
        return sum(map(_nbytes, batch.values()))
    if isinstance(batch, (list, tuple)):
        return sum(map(_nbytes, batch))
    nbytes = getattr(batch, "nbytes", 0)
    return nbytes if isinstance(nbytes, int) else 0
