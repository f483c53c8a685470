"""Cards as GPUtil tells them, where that package works; it lists no processes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading
from memdoctor.foundation.units import MIB


def read_gputil() -> Iterator[DeviceReading | Skipped]:
    """All cards, or why it does not answer. Check by hand: `python -c "import GPUtil; GPUtil.showUtilization()"`."""
    try:
        cards = importlib.import_module("GPUtil").getGPUs()
    except Exception as error:  # it imports distutils, gone in Python 3.12, and parses whatever it gets
        yield Skipped("GPUtil", f"{type(error).__name__}: {error}")
        return
    if not cards:
        yield Skipped("GPUtil", "it lists no card")
    for card in cards:
        yield _reading(card)


def _reading(card: Any) -> DeviceReading | Skipped:
    """Its figures are floats, memory in MiB and load a fraction, and `nan` for what nvidia-smi does not tell."""
    try:
        used_bytes, total_bytes = int(card.memoryTotal - card.memoryFree) * MIB, int(card.memoryTotal) * MIB
    except ValueError:
        return Skipped(f"memory of card {card.id}, {card.name}", "GPUtil does not tell it")
    load = None if card.load != card.load else round(card.load * 100)
    return DeviceReading(card.id, card.name, total_bytes, used_bytes, "GPUtil", load)
