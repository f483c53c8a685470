"""`torch.save` and `torch.load` of tensors of the card: files say `cuda:0`, as those of a real card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from memdoctor.virtual.device import number_of
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.patches import Patches
from memdoctor.virtual.storages import on_card
from memdoctor.virtual.values import KnownContents, ReadLog

_PRIORITY = 0
"""Before PyTorch's own entries, which begin at 10 (torch/serialization.py)."""


def patch_saving(patches: Patches, ledgers: Sequence[Ledger], known: KnownContents, reads: ReadLog) -> None:
    """One more entry in PyTorch's registry of storage locations, and a copy to the host that has something to copy."""
    storages = ledgers[0].storages

    def location_of(storage: torch.UntypedStorage) -> str | None:
        record = storages.get(storage._cdata)
        return None if record is None else f"cuda:{record.device}"

    def restore(storage: torch.UntypedStorage, location: str) -> torch.UntypedStorage | None:
        return on_card(ledgers[_number(location)], known, storage) if location.startswith("cuda") else None

    registry = torch.serialization._package_registry
    patches.set(torch.serialization, "_package_registry", [(_PRIORITY, location_of, restore), *registry])
    base = torch.storage._StorageBase
    patches.set(base, "cpu", _copies_to_host(base.cpu, ledgers[0], reads))


def _number(location: str) -> int:
    """Of the card that a file names; raises what PyTorch raises where there are too few."""
    number, count = number_of(location), torch.cuda.device_count()
    if number >= count:
        raise RuntimeError(
            f"Attempting to deserialize object on CUDA device {number} but torch.cuda.device_count() is {count}. "
            "Please use torch.load with map_location to map your storages to an existing device.")
    return number


def _copies_to_host(original: Callable[..., Any], ledger: Ledger, reads: ReadLog) -> Callable[..., Any]:
    def cpu(storage: torch.UntypedStorage) -> Any:
        record = ledger.storages.get(storage._cdata)
        if record is None:
            return original(storage)
        if record.known is None:
            reads.note("save")
            return torch.zeros(storage.nbytes(), dtype=torch.uint8, device="cpu").untyped_storage()
        return original(record.known).clone()
    return cpu
