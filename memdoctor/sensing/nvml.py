"""Cards and processes as the driver's own library tells them, without a CUDA context and without a subprocess."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pynvml

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading, ProcessReading


def read_nvml() -> Iterator[DeviceReading | Skipped]:
    """All cards, or why NVML does not answer. Check by hand: `nvidia-smi -q -d MEMORY`; used is total less free."""
    try:
        with _nvml():
            count = pynvml.nvmlDeviceGetCount()
            for index in range(count):
                yield from _read_index(index)
    except pynvml.NVMLError as error:
        yield Skipped("NVML", str(error))
        return
    if count == 0:
        yield Skipped("NVML", "it lists no card")


def utilization_percent(index: int) -> int | None:
    """How much of the last sample period a kernel ran on that CUDA device; None where nobody can tell.

    `index` counts as the program does, after `CUDA_VISIBLE_DEVICES`. A few microseconds, less where there is no NVML.
    None until the program has initialised CUDA, and for a slice of a split card (MIG).
    Check by hand: `nvidia-smi --query-gpu=utilization.gpu --format=csv`.
    """
    import torch  # `memdoctor gpus` reads this file too, and must not pay for it

    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch ships no types for it
    handle = _handle_of_cuda_device(index) if in_use else None
    if handle is None:
        return None
    try:
        return int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:
        return None


def others_bytes(index: int) -> int | None:
    """What other processes hold of that CUDA device; None where the driver does not list this process among them.

    That is so in a container with process numbers of its own. Check by hand: the lower table of `nvidia-smi`.
    """
    handle = _handle_of_cuda_device(index)
    try:
        processes = _processes(handle) if handle is not None else ()
    except pynvml.NVMLError:
        return None
    if os.getpid() not in {process.pid for process in processes}:
        return None
    others = [process.used_bytes for process in processes if process.pid != os.getpid()]
    return None if None in others else sum(used_bytes or 0 for used_bytes in others)


@functools.cache
def _handle_of_cuda_device(index: int) -> Any:
    """NVML counts all cards in bus order, CUDA the visible ones by speed: only the UUID is the same in both."""
    import torch  # see `utilization_percent`

    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    if uuid is None:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None


@contextlib.contextmanager
def _nvml() -> Iterator[None]:
    """NVML counts its users: leaving here does not close it for others in this process."""
    pynvml.nvmlInit()
    try:
        yield
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read_index(index: int) -> Iterator[DeviceReading | Skipped]:
    """One card and its slices; a card that has fallen off the bus does not hide the others."""
    try:
        card = pynvml.nvmlDeviceGetHandleByIndex(index)
        for handle in (card, *_slices(card)):
            yield from _read(index, handle)
    except pynvml.NVMLError as error:
        yield Skipped(f"card {index}", str(error))


def _slices(card: Any) -> Iterator[Any]:
    """The MIG slices of a card, if it is split; a card or driver that knows no MIG has none."""
    try:
        split = pynvml.nvmlDeviceGetMigMode(card)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
        places = pynvml.nvmlDeviceGetMaxMigDeviceCount(card) if split else 0
    except pynvml.NVMLError:
        return
    for place in range(places):
        with contextlib.suppress(pynvml.NVMLError_NotFound):  # an empty place
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, place)


def _read(index: int, handle: Any) -> Iterator[DeviceReading | Skipped]:
    """One card or slice, if its memory is told; integrated GPUs have none of their own."""
    name = str(pynvml.nvmlDeviceGetName(handle))
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError as error:
        yield Skipped(f"memory of card {index}, {name}", str(error))
        return
    processes: tuple[ProcessReading, ...] = ()
    try:
        processes = _processes(handle)
    except pynvml.NVMLError as error:
        yield Skipped(f"processes of card {index}, {name}", str(error))
    utilization = _or_none(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
    used_bytes = int(memory.total - memory.free)
    yield DeviceReading(index, name, int(memory.total), used_bytes, "NVML", utilization, processes)


def _processes(handle: Any) -> tuple[ProcessReading, ...]:
    """Computing and drawing processes; one that does both is listed once."""
    listed = (
        *pynvml.nvmlDeviceGetComputeRunningProcesses(handle),
        *pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
    )
    used_bytes = {process.pid: process.usedGpuMemory for process in listed}
    return tuple(ProcessReading(pid, _process_name(pid), used) for pid, used in used_bytes.items())


def _process_name(pid: int) -> str:
    """Empty for a process of another container or user, whose name the driver keeps to itself."""
    return _or_none(lambda: str(pynvml.nvmlSystemGetProcessName(pid))) or ""


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except pynvml.NVMLError:
        return None
