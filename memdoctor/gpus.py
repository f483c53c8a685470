"""Which cards there are and who fills them; and which cards can be had without having them."""

from __future__ import annotations

from memdoctor.foundation.gpus import GpusReport
from memdoctor.foundation.readings import DeviceReading
from memdoctor.sensing.devices import read_cards
from memdoctor.virtual.cards import CATALOGUE


def gpus() -> GpusReport:
    """The cards of this machine and the processes on them, now; no CUDA context is created to ask."""
    return read_cards()


def virtual_cards() -> dict[str, DeviceReading]:
    """Every card that `--virtual` and `--card` know by name, empty."""
    return {
        name: DeviceReading(index=0, name=card.name, total_bytes=card.total_bytes, used_bytes=0, source="virtual")
        for name, card in CATALOGUE.items()
    }
