"""Cards and processes as the command `nvidia-smi` tells them, the last source that is asked.

What it cannot tell stands in its columns as `[N/A]`, `[Not Supported]`, `[Insufficient Permissions]` and the like,
differently in each version: whatever is no number is not told.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading, ProcessReading
from memdoctor.foundation.units import MIB

_CARDS = "--query-gpu=uuid,index,memory.total,memory.free,utilization.gpu,name"
_PROCESSES = "--query-compute-apps=gpu_uuid,pid,used_memory,process_name"
_TIMEOUT_S = 20
"""Without persistence mode the driver is loaded for each call, which takes seconds on machines with many cards."""


class _NoAnswer(Exception):
    """Why nvidia-smi could not be asked."""


def read_nvidia_smi() -> Iterator[DeviceReading | Skipped]:
    """All cards, or why it does not answer. Check by hand: `nvidia-smi -q -d MEMORY`; used is total less free."""
    try:
        cards = _rows(_CARDS, columns=6)
    except _NoAnswer as error:
        yield Skipped("nvidia-smi", str(error))
        return
    processes: dict[str, list[ProcessReading]] = {}
    try:
        processes = _processes_by_card()
    except _NoAnswer as error:
        yield Skipped("processes", str(error))
    for uuid, *columns in cards:
        yield _reading(columns, tuple(processes.get(uuid, ())))


def _reading(columns: list[str], processes: tuple[ProcessReading, ...]) -> DeviceReading | Skipped:
    index, total, free, utilization, name = columns
    total_mib, free_mib = _number(total), _number(free)
    if total_mib is None or free_mib is None:
        return Skipped(f"memory of card {index}, {name}", f"nvidia-smi says {total}")
    used_bytes = (total_mib - free_mib) * MIB
    return DeviceReading(int(index), name, total_mib * MIB, used_bytes, "nvidia-smi", _number(utilization), processes)


def _processes_by_card() -> dict[str, list[ProcessReading]]:
    by_card = defaultdict(list)
    for uuid, pid, used, name in _rows(_PROCESSES, columns=4):
        if not pid.isdigit():
            raise _NoAnswer(pid)  # `[Insufficient Permissions]`, for other users' processes on a split card
        used_mib = _number(used)
        by_card[uuid].append(ProcessReading(int(pid), name, None if used_mib is None else used_mib * MIB))
    return by_card


def _rows(query: str, columns: int) -> list[list[str]]:
    """The table of that query, names last because they may hold commas. Raises `_NoAnswer` for anything but a table."""
    rows = [line.split(", ", columns - 1) for line in _ask(query).splitlines() if line.strip()]
    for row in rows:
        if len(row) != columns:
            raise _NoAnswer(", ".join(row))
    return rows


def _ask(query: str) -> str:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S)
    except FileNotFoundError:
        raise _NoAnswer("there is no such command on this machine") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NoAnswer(str(error)) from None
    if answer.returncode != 0:
        raise _NoAnswer(_first_line(answer.stdout or answer.stderr) or f"it ended with exit code {answer.returncode}")
    return answer.stdout


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _number(column: str) -> int | None:
    """Rounded down; None for the many ways to say that it is not told."""
    try:
        return int(float(column))
    except ValueError:
        return None
