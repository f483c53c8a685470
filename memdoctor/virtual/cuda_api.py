"""What `torch.cuda` and `torch.accelerator` say while the virtual card is in place.

Plain Python functions that PyTorch calls without tensors, by name; `gpu.py` puts them into the modules. How to check on
a real card: the same calls.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.cuda._utils import _get_device_index

from memdoctor.virtual.allocator import CachingAllocator
from memdoctor.virtual.cards import Card
from memdoctor.virtual.device import CARD, invalid_ordinal
from memdoctor.virtual.history import History
from memdoctor.virtual.ledger import Ledger, snapshot


_DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64, torch.complex64, torch.complex128,
)


@dataclass(frozen=True)
class DeviceProperties:
    """The fields of `torch.cuda.get_device_properties` that programs read; those with a value are of no card at all."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    max_threads_per_multi_processor: int
    warp_size: int = 32
    is_integrated: bool = False
    is_multi_gpu_board: bool = False
    regs_per_multiprocessor: int = 65_536
    shared_memory_per_block: int = 49_152
    shared_memory_per_block_optin: int = 101_376
    shared_memory_per_multiprocessor: int = 102_400
    max_threads_per_block: int = 1_024
    L2_cache_size: int = 4_194_304
    clock_rate: int = 1_410_000
    memory_clock_rate: int = 1_215_000
    memory_bus_width: int = 256
    pci_bus_id: int = 1
    pci_device_id: int = 0
    pci_domain_id: int = 0
    gcnArchName: str = ""
    uuid: str = "00000000-0000-0000-0000-000000000000"


def properties_of(card: Card, total_bytes: int) -> DeviceProperties:
    major, minor = card.compute_capability
    return DeviceProperties(card.name, major, minor, total_bytes, card.sm_count, card.max_threads_per_sm)


class _Current(threading.local):
    """The card that a thread uses."""

    number = 0


def _number(device: Any) -> int:
    """Of a device argument, None for the current card; raises what PyTorch raises for one that is no card."""
    return int(_get_device_index(device, optional=True))


def device_attributes(card: Card, total_bytes: int, count: int) -> dict[str, Any]:
    """The cards themselves: all of one kind, and ready."""
    def run_now(callback: Callable[[], Any], **kwargs: Any) -> None:
        callback()

    return {
        **_which_card(count),
        **_kind_of_card(card, total_bytes, count),
        "is_available": lambda: True,
        "device_count": lambda: count,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "_lazy_init": lambda: None,
        "_lazy_call": run_now,
        "ipc_collect": lambda: None,
        "default_generators": tuple(torch.Generator() for _ in range(count)),
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": lambda debug_mode: None,
    }


def _which_card(count: int) -> dict[str, Any]:
    current = _Current()

    def exchange_device(device: int) -> int:
        before = current.number
        if device >= count:
            raise invalid_ordinal()
        if device >= 0:
            current.number = device
        return before

    def set_device(device: Any) -> None:
        exchange_device(_number(device))

    def synchronize(device: Any = None) -> None:
        if _number(device) >= count:
            raise invalid_ordinal()

    return {
        "current_device": lambda: current.number,
        "set_device": set_device,
        "_exchange_device": exchange_device,
        "_maybe_exchange_device": exchange_device,
        "synchronize": synchronize,
    }


def _kind_of_card(card: Card, total_bytes: int, count: int) -> dict[str, Any]:
    properties = properties_of(card, total_bytes)

    def get_device_properties(device: Any = None) -> DeviceProperties:
        if not 0 <= _number(device) < count:
            raise AssertionError("Invalid device id")
        return properties

    def get_device_capability(device: Any = None) -> tuple[int, int]:
        found = get_device_properties(device)
        return found.major, found.minor

    def can_device_access_peer(device: Any, peer_device: Any) -> bool:
        for what, number in (("device", _number(device)), ("peer device", _number(peer_device))):
            if not 0 <= number < count:
                raise AssertionError(f"Invalid {what} id")
        return _number(device) != _number(peer_device)

    return {
        "get_device_properties": get_device_properties,
        "get_device_capability": get_device_capability,
        "is_bf16_supported": lambda including_emulation=True: including_emulation or card.compute_capability >= (8, 0),
        "is_tf32_supported": lambda: card.compute_capability >= (8, 0),
        "get_arch_list": lambda: [f"sm_{card.compute_capability[0]}{card.compute_capability[1]}"],
        "can_device_access_peer": can_device_access_peer,
    }


# long: one name of torch.cuda.memory after the other
def memory_attributes(ledgers: Sequence[Ledger], total_bytes: int, taken_bytes: int) -> dict[str, Any]:
    """Counters and switches of the caching allocator, from the simulation; `taken_bytes` are not PyTorch's."""
    def ledger_of(device: Any) -> Ledger:
        number = _number(device)
        if number >= len(ledgers):
            raise RuntimeError(f"Invalid device argument {number}: did you call init?")
        return ledgers[number]

    def settled(device: Any) -> CachingAllocator:
        return ledger_of(device).settle()

    def mem_get_info(device: Any = None) -> tuple[int, int]:
        number = _number(device)
        if number >= len(ledgers):
            raise invalid_ordinal()
        return total_bytes - taken_bytes - ledgers[number].settle().reserved_bytes, total_bytes

    def memory_stats(device: Any = None) -> OrderedDict[str, int]:
        return OrderedDict(sorted(settled(device).stats().items()))

    def memory_stats_as_nested_dict(device: Any = None) -> dict[str, Any]:
        nested: dict[str, Any] = {}
        for name, value in settled(device).stats().items():
            *path, last = name.split(".")
            functools.reduce(lambda inner, key: inner.setdefault(key, {}), path, nested)[last] = value
        return nested

    def record_memory_history(enabled: Any = "all", *args: Any, max_entries: int = sys.maxsize, **kwargs: Any) -> None:
        """`enabled=None` and the older False end it."""
        for ledger in ledgers:
            ledger.history = History(max_entries, ledger.device) if enabled else None

    def empty_cache() -> None:
        for ledger in ledgers:
            ledger.change(lambda allocator: allocator.empty_cache())

    return {
        "memory_allocated": lambda device=None: settled(device).allocated_bytes,
        "max_memory_allocated": lambda device=None: settled(device).max_allocated_bytes,
        "memory_reserved": lambda device=None: settled(device).reserved_bytes,
        "max_memory_reserved": lambda device=None: settled(device).max_reserved_bytes,
        "memory_stats": memory_stats,
        "memory_stats_as_nested_dict": memory_stats_as_nested_dict,
        "memory_snapshot": lambda mempool_id=None, include_traces=True: snapshot(ledgers)["segments"],
        "mem_get_info": mem_get_info,
        "set_per_process_memory_fraction": lambda fraction, device=None: ledger_of(device).limit_to(fraction),
        "get_per_process_memory_fraction": lambda device=None: ledger_of(device).fraction,
        "empty_cache": empty_cache,
        "reset_peak_memory_stats": lambda device=None: ledger_of(device).change(CachingAllocator.reset_peak),
        "reset_accumulated_memory_stats": lambda device=None: None,
        "_record_memory_history": record_memory_history,
        "_snapshot": lambda *args, **kwargs: snapshot(ledgers),
        "get_allocator_backend": lambda: "native",
    }


def accelerator_attributes(cuda: dict[str, Any]) -> dict[str, Any]:
    """`torch.accelerator` says the same under its own names."""
    def current_accelerator(check_available: bool = False) -> torch.device:
        return torch.device(CARD.type)

    @contextlib.contextmanager
    def device_index(device: int | None) -> Iterator[None]:
        before = cuda["_exchange_device"](-1 if device is None else device)
        try:
            yield
        finally:
            cuda["_exchange_device"](before)

    return {
        "is_available": cuda["is_available"],
        "device_index": device_index,
        "device_count": cuda["device_count"],
        "current_accelerator": current_accelerator,
        "current_device_index": cuda["current_device"],
        "current_device_idx": cuda["current_device"],
        "set_device_index": cuda["set_device"],
        "set_device_idx": cuda["set_device"],
        "synchronize": cuda["synchronize"],
        "current_stream": cuda["current_stream"],
        "set_stream": cuda["set_stream"],
        "empty_cache": cuda["empty_cache"],
        "memory_stats": cuda["memory_stats"],
        "memory_allocated": cuda["memory_allocated"],
        "max_memory_allocated": cuda["max_memory_allocated"],
        "memory_reserved": cuda["memory_reserved"],
        "max_memory_reserved": cuda["max_memory_reserved"],
        "reset_peak_memory_stats": cuda["reset_peak_memory_stats"],
        "reset_accumulated_memory_stats": cuda["reset_accumulated_memory_stats"],
        "get_memory_info": cuda["mem_get_info"],
        "empty_host_cache": lambda: None,
        "get_device_capability": lambda device=None: {"supported_dtypes": set(_DTYPES)},
        "Graph": cuda["CUDAGraph"],
    }
