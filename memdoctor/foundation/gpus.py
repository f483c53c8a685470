"""The answer of `memdoctor gpus`."""

from __future__ import annotations

from dataclasses import dataclass

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading


@dataclass(frozen=True)
class GpusReport:
    """The cards of this machine at one moment, and every source or figure that could not be had."""

    cards: tuple[DeviceReading, ...] = ()
    """A card that is split (MIG) is followed by its slices, which share its index."""
    skipped: tuple[Skipped, ...] = ()
