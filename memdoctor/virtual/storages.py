"""Storages of the card that a program holds, copies or resizes itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from memdoctor.virtual.device import is_card, number_of
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.patches import Patches
from memdoctor.virtual.values import KnownContents

_base: Any = torch._C.StorageBase


def on_card(ledger: Ledger, known: KnownContents, storage: torch.UntypedStorage) -> torch.UntypedStorage:
    """A copy of a storage of the host."""
    copy: torch.UntypedStorage = torch.UntypedStorage(  # type: ignore[no-untyped-call]  # untyped in torch
        storage.nbytes(), device="meta")
    known.keep(ledger.admit(copy), storage)
    return copy


def _made_on_card(ledgers: Sequence[Ledger]) -> Callable[..., Any]:
    """`torch.UntypedStorage(10, device="cuda")`, and with it `torch.cuda.FloatStorage(10)`."""
    def __new__(cls: Any, *args: Any, device: Any = None, **options: Any) -> Any:
        if not is_card(device):
            return _base.__new__(cls, *args, **({} if device is None else {"device": device}), **options)
        storage = _base.__new__(cls, *args, device="meta", **options)
        ledgers[number_of(device)].admit(storage)
        return storage
    return __new__


def patch_storages(patches: Patches, ledgers: Sequence[Ledger], known: KnownContents) -> None:
    """Blocks follow `resize_`; `cuda()` copies to the card."""
    storages = ledgers[0].storages

    def is_cuda(self: Any) -> bool:
        return self._cdata in storages

    def cuda(self: Any, device: Any = None, non_blocking: bool = False) -> torch.UntypedStorage:
        is_card(device)
        record, number = storages.get(self._cdata), number_of(device)
        if record is None:
            return on_card(ledgers[number], known, self)
        return self if record.device == number else on_card(ledgers[number], known, record.known or self)

    patches.set(torch.UntypedStorage, "__new__", staticmethod(_made_on_card(ledgers)))
    patches.set(torch.UntypedStorage, "is_cuda", property(is_cuda))
    patches.set(torch.UntypedStorage, "cuda", cuda)
    patches.set(torch.UntypedStorage, "resize_", _resizing(ledgers))
    patches.set(torch.UntypedStorage, "get_device", lambda self: storages[self._cdata].device if is_cuda(self) else -1)


def _resizing(ledgers: Sequence[Ledger]) -> Callable[[Any, int], Any]:
    def resize_(self: Any, size: int) -> Any:
        _base.resize_(self, size)
        record = ledgers[0].storages.get(self._cdata)
        if record is not None and record.nbytes != size:
            ledgers[record.device].resize(record, size)
        return self
    return resize_
