"""Several cards: which of them an operator runs on.

All tensors of all cards are meta tensors, and PyTorch keeps no number of a meta device. Where a storage lies is in the
ledgers; where an operator's results come to lie follows from its operands, or from the number of the meta device that
it is asked to make them on (`device.py`). What C++ makes without operands belongs where the thread's last operator was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from memdoctor.virtual import placing
from memdoctor.virtual.allocator import AllocatorOutOfMemory
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.mixtures import card_of, mixture
from memdoctor.virtual.recorder import Operator, Recorder
from memdoctor.virtual.storage_record import Observer, StorageRecord
from memdoctor.virtual.traits import is_composite

_TAKE_ALL_CARDS = ("aten::copy_", "aten::set_", "aten::_foreach_", "aten::_amp_")


class Cards:
    """The ledgers of a machine with several cards, by their number."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers

    def run(self, recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on its card; one on lists of tensors of several cards runs on one after the other."""
        if func._schema.name.startswith("aten::_foreach_") and len(set(self._of(args, {}))) > 1:
            with recorder:
                return _one_by_one(func, args, kwargs)
        recorder.ledger = self.choose(func, args, kwargs, recorder.ledger)
        return recorder.dispatch(func, args, kwargs)

    def choose(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], latest: Ledger) -> Ledger:
        """The ledger of the card that an operator runs on; raises what CUDA raises for operands on two of them."""
        device = kwargs.get("device")
        if device is not None and device.type == "meta" and device.index is not None:
            ledger: Ledger = self._ledgers[device.index]
            return ledger
        numbers = list(self._of(args, kwargs))
        if not numbers:
            return latest
        if any(number != numbers[0] for number in numbers):
            if not (func._schema.name.startswith(_TAKE_ALL_CARDS) or is_composite(func)):
                raise mixture(latest.storages, func, args, kwargs)
        return self._ledgers[numbers[0]]

    def _of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[int]:
        """The cards of the operands."""
        storages = self._ledgers[0].storages
        for tensor in placing.tensors_in((*args, *kwargs.values())):
            number = card_of(storages, tensor) if tensor.is_meta else None
            if number is not None:
                yield number

    def guarded(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """A kernel above autograd: what it makes belongs to the card of its operands."""
        def run(*args: Any, **kwargs: Any) -> Any:
            for mode in _get_current_dispatch_mode_stack():
                if isinstance(mode, Recorder):
                    mode.ledger = self.choose(torch.ops.aten.linear.default, args, kwargs, mode.ledger)
            return kernel(*args, **kwargs)
        return run


def _one_by_one(func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor] | None:
    results: list[torch.Tensor] = []
    for position in range(len(args[0])):
        out = func(*(
            [value[position]] if isinstance(value, (list, tuple)) else value for value in args), **kwargs)
        results += out or []
    return results or None


class AllCards:
    """Tells an observer of one card what happens on it, with the bytes of all cards as those of one."""

    def __init__(self, observer: Observer, ledgers: Sequence[Ledger]) -> None:
        self._observer = observer
        self._ledgers = ledgers

    def born(self, record: StorageRecord, tensor: torch.Tensor | None, operator: Any, allocated_bytes: int) -> int:
        return self._observer.born(record, tensor, operator, self._sum())

    def grew(self, allocated_bytes: int) -> None:
        self._observer.grew(self._sum())

    def died(self, record: StorageRecord) -> None:
        self._observer.died(record)

    def refused(
        self, nbytes: int, tensor: torch.Tensor | None, operator: Any, shortage: AllocatorOutOfMemory
    ) -> None:
        self._observer.refused(nbytes, tensor, operator, shortage)

    def _sum(self) -> int:
        return sum(ledger.allocator.allocated_bytes for ledger in self._ledgers)
