"""The virtual GPU: inside the `with`, everything that says CUDA lands on a simulated card.

Allocated and reserved bytes come from a simulation of PyTorch's caching allocator. Values are computed on request;
without, `values.py` has the table of what a read answers. Every patch is undone at the end, also after an exception;
tensors that were made on the card remain as meta tensors.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from memdoctor.foundation.breakdown import CardLedger
from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.locations import shown_path
from memdoctor.foundation.readings import DeviceReading, Timeline
from memdoctor.foundation.tracebacks import chain_without_our_frames
from memdoctor.foundation.units import format_bytes
from memdoctor.virtual.allocator import CachingAllocator
from memdoctor.virtual.allocator_requests import RecordingAllocator
from memdoctor.virtual.cards import Card, find_card
from memdoctor.virtual.ledger import Ledger, Shared, snapshot
from memdoctor.virtual.operators.convolution import WITH_WORKSPACE
from memdoctor.virtual.patches import Patches
from memdoctor.virtual.precision import precision
from memdoctor.virtual.several import AllCards
from memdoctor.virtual.simulation import Simulation, installed
from memdoctor.virtual.storage_record import Observer, StorageRecord
from memdoctor.virtual.timeline import StepReadings
from memdoctor.virtual.values import KnownContents, Read, ReadLog


class VirtualGPU:
    """The simulated card, or several of one kind, and what they hold; cheap to ask at every iteration.

    Figures without a device are those of all cards together.
    """

    def __init__(
        self, card: Card, total_bytes: int, context_bytes: int, other_bytes: int, allocator_conf: str, computes: bool,
        devices: int,
    ) -> None:
        self.card = card
        self.total_bytes = total_bytes
        """Of one card."""
        self.context_bytes = context_bytes
        self.other_bytes = other_bytes
        self._ledgers = self._made_ledgers(allocator_conf, devices)
        self._allocator_conf = allocator_conf
        self._known = KnownContents(self._ledgers[0], follows_all=computes)
        self._reads = ReadLog()
        self._readings = StepReadings(self._counters)

    def _simulation(self) -> Simulation:
        return Simulation(
            self.card, self.total_bytes, self.total_bytes - self.capacity_bytes, self._ledgers, self._known,
            self._reads, self._readings,
        )

    def _made_ledgers(self, conf: str, devices: int) -> tuple[Ledger, ...]:
        shared = Shared()
        for device in range(devices):
            Ledger(functools.partial(
                CachingAllocator, self.capacity_bytes, conf=conf, total_bytes=self.total_bytes, device=device),
                device, shared)
        return tuple(shared.ledgers)

    @property
    def devices(self) -> int:
        """How many cards there are."""
        return len(self._ledgers)

    @property
    def capacity_bytes(self) -> int:
        """What PyTorch can use of each: the card without the CUDA context and without other processes."""
        return self.total_bytes - self.context_bytes - self.other_bytes

    def _sum(self, of: Callable[[CachingAllocator], int]) -> int:
        return sum([of(ledger.settle()) for ledger in self._ledgers])

    @property
    def allocated_bytes(self) -> int:
        """As `torch.cuda.memory_allocated()`."""
        return self._sum(lambda allocator: allocator.allocated_bytes)

    @property
    def reserved_bytes(self) -> int:
        """As `torch.cuda.memory_reserved()`."""
        return self._sum(lambda allocator: allocator.reserved_bytes)

    @property
    def max_allocated_bytes(self) -> int:
        """As `torch.cuda.max_memory_allocated()`: since the start or the program's last reset.

        Of several cards each counts with its own largest figure; they need not have had them at the same moment.
        """
        return self._sum(lambda allocator: allocator.max_allocated_bytes)

    @property
    def max_reserved_bytes(self) -> int:
        """As `torch.cuda.max_memory_reserved()`, in the same way."""
        return self._sum(lambda allocator: allocator.max_reserved_bytes)

    @property
    def card_peaks(self) -> tuple[int, ...]:
        """`torch.cuda.max_memory_allocated()` of each card."""
        return tuple([ledger.settle().max_allocated_bytes for ledger in self._ledgers])

    @property
    def live_bytes(self) -> int:
        """Bytes that were asked for and are alive, without the rounding to blocks: `requested_bytes` of PyTorch."""
        return self._sum(lambda allocator: allocator.requested_bytes)

    @property
    def storages(self) -> Mapping[int, StorageRecord]:
        """Live storages by `untyped_storage()._cdata`; changes while the program runs."""
        return self._ledgers[0].storages

    @property
    def birth_count(self) -> int:
        """The sequence number that the next storage will get."""
        return sum([ledger.birth_count for ledger in self._ledgers])

    def reading(self, device: int = 0) -> DeviceReading:
        """A card as `nvidia-smi` would show it now."""
        used_bytes = self.context_bytes + self.other_bytes + self._ledgers[device].settle().reserved_bytes
        return DeviceReading(
            device, self.card.name, self.total_bytes, used_bytes, "virtual", others_bytes=self.other_bytes)

    def ledger(self, device: int = 0) -> CardLedger:
        """Where a card's bytes are now; sums to the total."""
        allocator = self._ledgers[device].settle()
        return CardLedger(
            total_bytes=self.total_bytes,
            tensors_bytes=allocator.allocated_bytes,
            cached_bytes=allocator.reserved_bytes - allocator.allocated_bytes,
            context_bytes=self.context_bytes,
            others_bytes=self.other_bytes,
            free_bytes=self.capacity_bytes - allocator.reserved_bytes,
        )

    def timeline(self) -> Timeline:
        """What the cards held after each optimizer step until now; of a long program's beginning only some.

        `memdoctor.profile()` also follows programs whose iterations end otherwise. By hand: print
        `torch.cuda.memory_allocated()` after `optimizer.step()`.
        """
        return self._readings.timeline

    def _counters(self) -> tuple[int, int, int, int]:
        return self.allocated_bytes, self.reserved_bytes, self.max_allocated_bytes, self.live_bytes

    def snapshot(self) -> dict[str, Any]:
        """As `torch.cuda.memory._snapshot()`; pickled, PyTorch's memory_viz reads it.

        Events with their stacks are in it from the program's `torch.cuda.memory._record_memory_history()` on.
        """
        return snapshot(self._ledgers)

    def observe(self, observer: Observer | None) -> None:
        """Tell one observer of every birth, death and refusal from now on; None ends it."""
        several = observer is not None and self.devices > 1
        for ledger in self._ledgers:
            ledger.observer = AllCards(observer, self._ledgers) if observer is not None and several else observer

    def record_requests(self) -> None:
        """Write down what is asked of the (first) card's allocator from now on; before anything is on it."""
        self._ledgers[0].allocator = RecordingAllocator(
            self.capacity_bytes, conf=self._allocator_conf, total_bytes=self.total_bytes)

    @property
    def requests(self) -> tuple[int, ...] | None:
        """As `allocator_requests.py` has them; None if not recorded, or not to be said that way."""
        allocator = self._ledgers[0].settle()
        recorded = allocator.requests if isinstance(allocator, RecordingAllocator) else None
        return None if recorded is None else tuple(recorded)

    @property
    def value_reads(self) -> tuple[Read, ...]:
        """The reads that were answered by policy, each first use at each line of the program."""
        return self._reads.reads

    @property
    def precision(self) -> str:
        """How far the peak may be from a real card's, for what has run until now."""
        return precision(self._ledgers[0].kinds)

    def remark(self) -> Skipped:
        """What a report about this card must say: who computed values, and which reads were answered without."""
        reads = ", ".join(f"{read.what} at {shown_path(read.path)}:{read.line}" for read in self.value_reads)
        answered = f"reads answered by policy: {reads}" if reads else "the program read none"
        computed = "the host computed them" if self._known.follows_all else "they were not computed"
        return Skipped("values of tensors on the virtual card", f"{computed}; {answered}")


_in_use: list[VirtualGPU] = []


def current_gpu() -> VirtualGPU | None:
    """The virtual card whose `with` this process is in, if any; a profile reads its counters from it."""
    return _in_use[-1] if _in_use else None


@contextlib.contextmanager
def virtual_gpu(
    card: str = "a100-40gb",
    *,
    capacity_bytes: int | None = None,
    context_bytes: int | None = None,
    other_bytes: int = 0,
    allocator_conf: str = "",
    cudnn_workspace: Literal["model", "none"] = "model",
    values: Literal["zeros", "real"] = "zeros",
    devices: int = 1,
) -> Iterator[VirtualGPU]:
    """Put a virtual card, or `devices` cards of one kind, in place of CUDA.

    `card` is a name of the catalogue or a size (`24GiB`). `capacity_bytes` replaces the card's total memory,
    `context_bytes` what the CUDA context takes of it, and `other_bytes` is what other processes hold; `allocator_conf`
    is read as `PYTORCH_CUDA_ALLOC_CONF` is.
    `cudnn_workspace="model"` estimates what cuDNN takes in the backward of convolutions (`kernels/convolution.py`);
    "none" leaves it out, which makes convolutions a lower bound.
    `values="real"` computes on the host what the program computes on the card, for programs whose course hangs on
    values; the bytes are the same, and it takes as long as on the host.
    Cards reach each other's memory (peer to peer).
    Raises `UnknownCard` for another name, and `BadInput` where a virtual GPU is already in use, there is no card, or
    more is taken of it than it has.
    """
    if devices < 1:
        raise BadInput(f"devices={devices} is no number of cards.", "Give 1 or more.")
    if _in_use:
        raise BadInput(
            f"a virtual GPU ({_in_use[0].card.name}) is already in use in this process.",
            "Leave its `with` before entering another.",
        )
    kind = find_card(card)
    total_bytes = kind.total_bytes if capacity_bytes is None else capacity_bytes
    context_bytes = kind.context_bytes if context_bytes is None else context_bytes
    if context_bytes + other_bytes > total_bytes:
        taken = f"{format_bytes(context_bytes)} for the CUDA context and {format_bytes(other_bytes)} of other processes"
        raise BadInput(f"{taken} are more than the card's {format_bytes(total_bytes)}.", "Take less of it.")
    gpu = VirtualGPU(kind, total_bytes, context_bytes, other_bytes, allocator_conf, values == "real", devices)
    _in_use.append(gpu)
    patches = Patches()
    try:
        with installed(gpu._simulation(), patches, WITH_WORKSPACE if cudnn_workspace == "model" else {}):
            yield gpu
    except BaseException as error:
        chain_without_our_frames(error)
        raise
    finally:
        patches.undo()
        _in_use.remove(gpu)
