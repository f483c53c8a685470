"""The cards of this machine and who uses them, from the best source that answers."""

from __future__ import annotations

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.gpus import GpusReport
from memdoctor.foundation.readings import DeviceReading
from memdoctor.sensing.gputil import read_gputil
from memdoctor.sensing.nvidia_smi import read_nvidia_smi
from memdoctor.sensing.nvml import others_bytes, read_nvml, utilization_percent

__all__ = ["others_bytes", "read_cards", "utilization_percent"]

_SOURCES = (read_nvml, read_gputil, read_nvidia_smi)


def read_cards() -> GpusReport:
    """What NVML says, else GPUtil, else `nvidia-smi`; those that failed before it are among the skipped.

    Never raises, and creates no CUDA context. Check by hand: `nvidia-smi`.
    """
    skipped: list[Skipped] = []
    for read in _SOURCES:
        answers = list(read())
        skipped += [answer for answer in answers if isinstance(answer, Skipped)]
        cards = tuple(answer for answer in answers if isinstance(answer, DeviceReading))
        if cards:
            return GpusReport(cards, tuple(skipped))
    return GpusReport(skipped=tuple(skipped))
