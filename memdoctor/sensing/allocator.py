"""The counters of the allocator that holds a program's tensors: a real card's, or nothing for a program on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading
from memdoctor.sensing.devices import others_bytes, utilization_percent


@dataclass(frozen=True)
class Counters:
    """One reading of an allocator. Check by hand: `torch.cuda.memory_summary()`."""

    allocated_bytes: int
    peak_allocated_bytes: int
    """The allocator's own running maximum, which the program may reset."""
    reserved_bytes: int
    peak_reserved_bytes: int
    live_bytes: int
    """Bytes asked for, without the rounding to blocks."""


NO_COUNTERS = Counters(0, 0, 0, 0, 0)
"""Of a program that has not used a card yet, or never will."""


class Allocator(Protocol):
    """What a device answers, whether it is real, virtual or the host."""

    def counters(self) -> Counters:
        """The figures now, for the price of a few microseconds."""

    def reading(self) -> DeviceReading:
        """The card as a whole."""

    def utilization_percent(self) -> int | None:
        """Share of time in which a kernel ran; None where nobody knows."""

    def remarks(self) -> tuple[Skipped, ...]:
        """What a report must say about its figures."""


class CudaAllocator:
    """The caching allocator of one real card. To be asked only once the program uses CUDA: asking makes a context."""

    def __init__(self, index: int) -> None:
        """`index` counts as `torch.cuda` does, among the visible cards."""
        self.index = index

    def counters(self) -> Counters:
        """One call into PyTorch. Check by hand: `torch.cuda.memory_stats()`."""
        stats = torch.cuda.memory_stats_as_nested_dict(self.index)
        allocated, reserved = stats["allocated_bytes"]["all"], stats["reserved_bytes"]["all"]
        return Counters(
            allocated_bytes=allocated["current"],
            peak_allocated_bytes=allocated["peak"],
            reserved_bytes=reserved["current"],
            peak_reserved_bytes=reserved["peak"],
            live_bytes=stats["requested_bytes"]["all"]["current"],
        )

    def reading(self) -> DeviceReading:
        """The card's size and what PyTorch cannot have of it: the CUDA context and other processes."""
        free_bytes, total_bytes = torch.cuda.mem_get_info(self.index)
        taken_bytes = total_bytes - free_bytes - torch.cuda.memory_reserved(self.index)
        name = torch.cuda.get_device_name(self.index)
        others = others_bytes(self.index)
        return DeviceReading(self.index, name, total_bytes, taken_bytes, "torch.cuda", others_bytes=others)

    def utilization_percent(self) -> int | None:
        """As NVML has it, for a few microseconds; None without NVML."""
        return utilization_percent(self.index)

    def remarks(self) -> tuple[Skipped, ...]:
        """None: they are the card's own."""
        return ()


def has_card() -> bool:
    """Whether PyTorch could use a real card; creates no context to find out."""
    return torch.cuda.is_available()


def cuda_in_use() -> CudaAllocator | None:
    """The current card of a program that has initialised CUDA; None for any other, and nothing is initialised."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # untyped in torch
        return None
    return CudaAllocator(torch.cuda.current_device())


class HostAllocator:
    """A program without a card. PyTorch keeps no counters for the host; a walk of the heap sees its tensors."""

    def __init__(self, *remarks: Skipped) -> None:
        self._remarks = remarks

    def counters(self) -> Counters:
        """Always zeros."""
        return NO_COUNTERS

    def reading(self) -> DeviceReading:
        """The host as a device without memory of its own."""
        return DeviceReading(0, "cpu", 0, 0, "torch")

    def utilization_percent(self) -> None:
        """There is no card."""

    def remarks(self) -> tuple[Skipped, ...]:
        """Zeros need no explanation beside the device's name, but perhaps why it is the host."""
        return self._remarks


class RunningMaximum:
    """A maximum since it was made; the allocator's own began earlier and may be reset by the program."""

    def __init__(self, value: int, peak: int) -> None:
        self.value = value
        self._before = peak

    def update(self, value: int, peak: int) -> None:
        """Take in a reading; a peak that stands where it stood at first may be older, and does not count."""
        if peak < self._before:
            self._before = -1
        self.value = max(self.value, value if peak == self._before else peak)
