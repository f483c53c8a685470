"""What was observed: counters, cards, tensors, and who holds them.

Every figure is in bytes unless its name says otherwise, and each docstring says how to check it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from memdoctor.foundation.locations import Location


class MemoryReading(NamedTuple):
    """The counters right after one iteration; nothing of the user's is reset to take it.

    A tuple, because a frozen dataclass takes five times as long to make, and this is made in each iteration.

    Check by hand: print `torch.cuda.memory_allocated()` and `torch.cuda.memory_reserved()` after `optimizer.step()`.
    """

    step: int
    """Iteration, from 0."""
    phase: str
    """`train`, `eval`, `save` or `load`."""
    seconds: float
    """Since the recording began, on a clock that never goes back."""
    allocated_bytes: int
    """Blocks in use, as `torch.cuda.memory_allocated()` counts them. Measured; simulated on a virtual card."""
    reserved_bytes: int
    """Segments taken from the driver, `torch.cuda.memory_reserved()`."""
    peak_bytes: int
    """The most that was allocated from the start of the recording until now; a running maximum of memdoctor's own."""
    live_bytes: int
    """Bytes that the program asked for and still holds, without the rounding to blocks."""
    host_bytes: int
    """Resident set of this process. Check by hand: `ps -o rss= -p PID`, in KiB."""
    utilization_percent: int | None = None
    """Share of time in which a kernel ran, as `nvidia-smi` shows it; None where no card can be asked."""


@dataclass(frozen=True)
class ProcessReading:
    """One process that holds memory of a card. Check by hand: the lower table of `nvidia-smi`."""

    pid: int
    name: str
    used_bytes: int | None
    """None where the driver does not tell, as on Windows and inside containers."""


@dataclass(frozen=True)
class DeviceReading:
    """One card at one moment. Check by hand: `nvidia-smi --query-gpu=name,memory.total,memory.used --format=csv`."""

    index: int
    name: str
    total_bytes: int
    used_bytes: int
    source: str
    """Who said so: `NVML`, `GPUtil`, `nvidia-smi`, or `virtual` for a card that does not exist."""
    utilization_percent: int | None = None
    processes: tuple[ProcessReading, ...] = ()
    others_bytes: int | None = None
    """Of the used bytes those of other processes than this one; None where nobody tells."""

    @property
    def free_bytes(self) -> int:
        """What nobody holds; a new process still needs room for its CUDA context."""
        return max(self.total_bytes - self.used_bytes, 0)


@dataclass(frozen=True)
class Timeline:
    """The readings of a run, in order of steps; of a long run's beginning only some, see `thinned`."""

    readings: tuple[MemoryReading, ...] = ()

    @property
    def iterations(self) -> int:
        """How many there were, those whose readings are left out too."""
        return self.readings[-1].step + 1 if self.readings else 0

    @property
    def peak_allocated_bytes(self) -> int:
        """The running maximum at the last reading; 0 for a run without iterations."""
        return max((reading.peak_bytes for reading in self.readings), default=0)

    @property
    def peak_reserved_bytes(self) -> int:
        """The largest reserved figure that was read; segments returned inside an iteration are not seen."""
        return max((reading.reserved_bytes for reading in self.readings), default=0)


_Reading = TypeVar("_Reading")


def thinned(readings: Sequence[_Reading], most: int, size: Callable[[_Reading], int]) -> list[_Reading]:
    """At most so many, two or more: the newest half as they are, of the older ones the larger of two, repeatedly."""
    newest = most // 2
    older, newer = list(readings[:-newest]), list(readings[-newest:])
    while len(older) + newest > most:
        pairs = (older[at:at + 2] for at in range(0, len(older), 2))
        older = [max(pair, key=size) for pair in pairs]
    return older + newer


@dataclass(frozen=True)
class TensorRecord:
    """One tensor that was alive at a look; a record, never the tensor itself."""

    shape: tuple[int, ...]
    dtype: str
    storage_bytes: int
    """The whole storage, also when the tensor is a small view of it."""
    block_bytes: int
    """The storage rounded up to what the caching allocator hands out."""
    born_step: int
    """The iteration in which its storage was allocated."""


@dataclass(frozen=True)
class Retainer:
    """The path from a root to what it keeps alive, and what that costs.

    Check by hand: `del` the name in a debugger after the step; `torch.cuda.memory_allocated()` falls by what it kept.
    """

    name: str
    """As the user would write it: `history['loss']`, `Trainer.total`."""
    path: str
    """Where that name lives: `trainer, global of train.py`."""
    location: Location | None
    """The statement that puts the object there, not where it was allocated; None where no source can be read."""
    bytes_per_step: int
    """Device bytes that stay alive each step: unique storages, rounded up to allocator blocks. Measured."""
    keeps_graph: bool
    """True if what is kept has a `grad_fn`, also when backward has freed what that graph had saved."""
    host_bytes_per_step: int = 0
    """Host memory that grows with it. Measured over the run, not attributed node by node."""
    graph_nodes_per_step: int = 0
    """Autograd nodes that stay alive each step."""
    unit: str = "step"
    """What one step is: `optimizer step`, `model call`, `step() call`."""
    since_step: int = 0
    """The first iteration whose tensors are still alive."""
    tensors: int = 0
    """How many storages it kept at the last look."""
    is_cut: bool = False
    """True if there were too many to list: it kept at least so many, and since that step or before."""
    also_held_by: tuple[str, ...] = ()
    """Other names that hold the same storages: removing one of them frees nothing."""
