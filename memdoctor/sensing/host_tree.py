"""The process tree, `/dev/shm`, open files and limits, as Linux tells them; elsewhere as much as psutil can say."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil
import torch

from memdoctor.foundation.host import HostReading, WorkerReading

_SHM = "/dev/shm"
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of control groups, version 2 and 1."""
_SIZE = re.compile(rb"^(\w+):\s+(\d+) kB", flags=re.MULTILINE)


def read_host(step: int, worker_pids: Collection[int]) -> HostReading:
    """Everything at this moment; a few milliseconds, more for a process of very many gigabytes."""
    processes = list(_tree())
    sizes = {process.pid: _sizes(process.pid) for process in processes}
    shm_used_bytes, shm_total_bytes = shm_bytes() or (None, None)
    known = [size["Pss"] for size in sizes.values() if "Pss" in size]
    return HostReading(
        step=step,
        processes=len(processes),
        resident_bytes=sum(size.get("Rss", 0) or _resident(pid) for pid, size in sizes.items()),
        proportional_bytes=sum(known) if len(known) == len(processes) else None,
        shm_used_bytes=shm_used_bytes,
        shm_total_bytes=shm_total_bytes,
        open_files=_open_files(),
        open_files_limit=_open_files_limit(),
        pinned_bytes=_pinned_bytes(),
        workers=tuple(_worker(pid, size) for pid, size in sizes.items() if pid in worker_pids and size),
    )


def shm_bytes() -> tuple[int, int] | None:
    """Used and total bytes of the file system through which workers send tensors; None where there is none."""
    try:
        system = os.statvfs(_SHM)
    except (OSError, AttributeError):
        return None
    return (system.f_blocks - system.f_bavail) * system.f_frsize, system.f_blocks * system.f_frsize


def memory_limit_bytes() -> int:
    """What this process and its children may use: the control group's limit, else the machine's memory."""
    total_bytes = int(psutil.virtual_memory().total)
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            return min(total_bytes, int(Path(path).read_text(encoding="ascii")))
    return total_bytes


def name_of(pid: int) -> str:
    """`python train.py`; empty for a process that has ended, or that lives in another container."""
    try:
        return " ".join(psutil.Process(pid).cmdline()[:3])
    except psutil.Error:
        return ""


def _tree() -> Iterator[psutil.Process]:
    own = psutil.Process()
    yield own
    with contextlib.suppress(psutil.Error):
        yield from own.children(recursive=True)


def _sizes(pid: int) -> dict[str, int]:
    """Empty for a process that has ended, belongs to somebody else, or runs on another system than Linux."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except OSError:
        return {}
    return {name.decode(): int(kib) * 1024 for name, kib in _SIZE.findall(text)}


def _worker(pid: int, size: dict[str, int]) -> WorkerReading:
    private_bytes = size.get("Private_Clean", 0) + size.get("Private_Dirty", 0)
    return WorkerReading(pid, private_bytes, size.get("Shared_Clean", 0) + size.get("Shared_Dirty", 0))


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _open_files() -> int | None:
    try:
        return int(psutil.Process().num_fds())
    except (psutil.Error, AttributeError):
        return None


def _open_files_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _pinned_bytes() -> int | None:
    """From torch 2.6 on; a program that has not used a card has pinned nothing, and is not asked."""
    stats = getattr(torch.cuda.memory, "host_memory_stats", None)
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # untyped in torch
    if stats is None or not in_use:
        return None
    try:
        return int(stats().get("allocated_bytes.current", 0))
    except (RuntimeError, AttributeError):  # a virtual card pins nothing
        return None
