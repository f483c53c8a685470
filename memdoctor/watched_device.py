"""The device that a program turned out to use, read at each iteration."""

from __future__ import annotations

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading, MemoryReading
from memdoctor.foundation.recording import Recording
from memdoctor.sensing.allocator import Allocator, Counters, HostAllocator, RunningMaximum, cuda_in_use
from memdoctor.sensing.census import Census
from memdoctor.sensing.host import resident_bytes
from memdoctor.sensing.looker import Looker
from memdoctor.sensing.models import Models
from memdoctor.sensing.rises import Rises, bytes_on
from memdoctor.sensing.ticks import Ledger
from memdoctor.virtual.gpu import VirtualGPU, current_gpu

_SLOW_SECONDS = 0.1
"""Between two readings of what the kernel and the driver must be asked for."""

_EMPTY_CARD = Skipped("the virtual card", "nothing was put on it; what the program keeps on the host was looked for")


class WatchedDevice:
    """Its counters and peaks, what rose on it, and the looks at what it holds."""

    def __init__(self, recording: Recording, before: Counters, models: Models) -> None:
        self.allocator, ledger = device_in_use()
        self._gpu = ledger if isinstance(ledger, VirtualGPU) else None
        self.rises = Rises(models, ledger.bytes_of if isinstance(ledger, Census) else bytes_on(ledger))
        self.looker = Looker(ledger, emit=recording.add, skip=recording.add)
        self._next_slow_seconds = 0.0
        self._resident_bytes = 0
        self._utilization_percent: int | None = None
        self._allocated = RunningMaximum(before.allocated_bytes, before.peak_allocated_bytes)
        self._reserved = RunningMaximum(before.reserved_bytes, before.peak_reserved_bytes)

    @property
    def peaks(self) -> tuple[int, int]:
        """The most that was allocated and reserved since the session began."""
        return self._allocated.value, self._reserved.value

    @property
    def precision(self) -> str:
        """What to expect of the peaks; nothing is in doubt on a real card."""
        return self._gpu.precision if self._gpu is not None else ""

    @property
    def card_peaks(self) -> tuple[int, ...]:
        """Of each card where there are several."""
        return self._gpu.card_peaks if self._gpu is not None and self._gpu.devices > 1 else ()

    def counters(self) -> Counters:
        """The figures now, taken into the peaks."""
        now = self.allocator.counters()
        self._allocated.update(now.allocated_bytes, now.peak_allocated_bytes)
        self._reserved.update(now.reserved_bytes, now.peak_reserved_bytes)
        return now

    def read(self, step: int, phase: str, seconds: float) -> MemoryReading:
        """The counters now; what takes longer to ask for is at most a tenth of a second old."""
        counters = self.counters()
        if seconds >= self._next_slow_seconds:
            self._next_slow_seconds = seconds + _SLOW_SECONDS
            self._resident_bytes = resident_bytes()
            self._utilization_percent = self.allocator.utilization_percent()
        return MemoryReading(
            step=step,
            phase=phase,
            seconds=round(seconds, 6),
            allocated_bytes=counters.allocated_bytes,
            reserved_bytes=counters.reserved_bytes,
            peak_bytes=self._allocated.value,
            live_bytes=counters.live_bytes,
            host_bytes=self._resident_bytes,
            utilization_percent=self._utilization_percent,
        )


class VirtualAllocator:
    """The counters of a virtual card, read without going through the patched `torch.cuda`; several count as one."""

    def __init__(self, gpu: VirtualGPU) -> None:
        self._gpu = gpu

    def counters(self) -> Counters:
        gpu = self._gpu
        return Counters(
            allocated_bytes=gpu.allocated_bytes,
            peak_allocated_bytes=gpu.max_allocated_bytes,
            reserved_bytes=gpu.reserved_bytes,
            peak_reserved_bytes=gpu.max_reserved_bytes,
            live_bytes=gpu.live_bytes,
        )

    def reading(self) -> DeviceReading:
        gpu, count = self._gpu, self._gpu.devices
        name = gpu.card.name if count == 1 else f"{count} x {gpu.card.name}"
        used_bytes = count * (gpu.context_bytes + gpu.other_bytes)  # as before the program's first tensor
        return DeviceReading(
            0, name, count * gpu.total_bytes, used_bytes, "virtual", others_bytes=count * gpu.other_bytes)

    def utilization_percent(self) -> None:
        """No kernel ever runs on it."""

    def remarks(self) -> tuple[Skipped, ...]:
        """What a report must say about it."""
        return (self._gpu.remark(),)


def device_in_use() -> tuple[Allocator, Ledger]:
    """The virtual card once something is on it, else a real one, else the CPU; never creates a context."""
    gpu = current_gpu()
    if gpu is not None and gpu.birth_count:
        return VirtualAllocator(gpu), gpu
    card = cuda_in_use() if gpu is None else None
    if card is not None:
        return card, Census("cuda")
    return HostAllocator(*(() if gpu is None else (_EMPTY_CARD,))), Census("cpu")
