"""Fakes of what tells a machine's cards: the driver's library and the command `nvidia-smi`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from memdoctor.foundation.units import GIB

Card = dict[str, Any]

_CARD: Card = {
    "name": "NVIDIA A100-SXM4-40GB",
    "memory": SimpleNamespace(total=40 * GIB, free=30 * GIB),
    "utilization": 35,
    "compute": [],
    "graphics": [],
    "slices": None,
}


def ask(card: Card, what: str) -> Any:
    return told(card.get(what, _CARD[what]))


def told(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def mig_mode(card: Card) -> list[int]:
    if ask(card, "slices") is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return [1, 1]


def process_name(pid: int) -> str:
    if pid != 7:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return "python train.py"


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts these cards in the place of the driver's library: what differs from an ordinary card, or an error.

    An error among a card's answers is raised when it is asked for, and `init` when NVML is opened. Process 7 has a
    name, and the last card the UUID `GPU-aaaa`.
    """

    def install(*cards: Card | Exception, init: Exception | None = None) -> None:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": lambda: told(init),
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: len(cards),
            "nvmlDeviceGetHandleByIndex": lambda index: told(cards[index]),
            "nvmlDeviceGetHandleByUUID": lambda uuid: {"GPU-aaaa": cards[-1]}[uuid],
            "nvmlDeviceGetName": lambda card: ask(card, "name"),
            "nvmlDeviceGetMemoryInfo": lambda card: ask(card, "memory"),
            "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(gpu=ask(card, "utilization")),
            "nvmlDeviceGetComputeRunningProcesses": lambda card: ask(card, "compute"),
            "nvmlDeviceGetGraphicsRunningProcesses": lambda card: ask(card, "graphics"),
            "nvmlDeviceGetMigMode": mig_mode,
            "nvmlDeviceGetMaxMigDeviceCount": lambda card: len(ask(card, "slices")),
            "nvmlDeviceGetMigDeviceHandleByIndex": lambda card, place: told(ask(card, "slices")[place]),
            "nvmlSystemGetProcessName": process_name,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)

    return install


@pytest.fixture
def fake_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A command of that name, the only one on PATH, that prints these two answers."""

    def install(cards: str, processes: str = "", exit_code: int = 0) -> None:
        script = tmp_path / "nvidia-smi"
        script.write_text(
            "#!/bin/sh\n"
            f"case $1 in --query-gpu=*) printf %s {shlex.quote(cards)};; *) printf %s {shlex.quote(processes)};; esac\n"
            f"exit {exit_code}\n"
        )
        script.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    return install


@pytest.fixture(autouse=True)
def searches_need_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heap of a test session is large: the first seconds, which are free, would be spent on it."""
    monkeypatch.setattr("memdoctor.sensing.census._FREE_SECONDS", 1e6)
    monkeypatch.setattr("memdoctor.sensing.looker._FREE_SECONDS", 1e6)
