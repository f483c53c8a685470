"""The command: what drivers 418 to 570 print for its two queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.readings import DeviceReading, ProcessReading
from memdoctor.foundation.units import MIB
from memdoctor.sensing.nvidia_smi import read_nvidia_smi


def test_two_cards_and_a_process_whose_name_has_a_comma(fake_nvidia_smi: Any) -> None:
    fake_nvidia_smi(
        "GPU-aaaa, 0, 40960, 30720, 35, NVIDIA A100-SXM4-40GB\nGPU-bbbb, 1, 40960, 40950, 0, NVIDIA A100-SXM4-40GB\n",
        "GPU-aaaa, 4711, 9216, python -c print(1, 2)\n",
    )
    processes = (ProcessReading(4711, "python -c print(1, 2)", 9216 * MIB),)
    assert list(read_nvidia_smi()) == [
        DeviceReading(0, "NVIDIA A100-SXM4-40GB", 40960 * MIB, 10240 * MIB, "nvidia-smi", 35, processes),
        DeviceReading(1, "NVIDIA A100-SXM4-40GB", 40960 * MIB, 10 * MIB, "nvidia-smi", 0),
    ]


@pytest.mark.parametrize("untold", ["[N/A]", "[Not Supported]", "N/A", "[Unknown Error]", "[GPU is lost]"])
def test_utilization_that_is_not_told_is_none(fake_nvidia_smi: Any, untold: str) -> None:
    """A split card (MIG) says `[N/A]`, an old GeForce `[Not Supported]`."""
    fake_nvidia_smi(f"GPU-aaaa, 0, 4096, 4000, {untold}, GeForce GT 710\n")
    assert list(read_nvidia_smi()) == [DeviceReading(0, "GeForce GT 710", 4096 * MIB, 96 * MIB, "nvidia-smi")]


def test_memory_that_is_not_told_leaves_the_card_out(fake_nvidia_smi: Any) -> None:
    fake_nvidia_smi("GPU-aaaa, 0, [N/A], [N/A], 3, NVIDIA GB10\n")
    assert list(read_nvidia_smi()) == [Skipped("memory of card 0, NVIDIA GB10", "nvidia-smi says [N/A]")]


def test_process_memory_that_is_not_told_is_none(fake_nvidia_smi: Any) -> None:
    fake_nvidia_smi("GPU-aaaa, 0, 4096, 4000, 0, Tesla T4\n", "GPU-aaaa, 12, [N/A], [Not Found]\n")
    (card,) = read_nvidia_smi()
    assert isinstance(card, DeviceReading) and card.processes == (ProcessReading(12, "[Not Found]", None),)


@pytest.mark.parametrize(
    ("text", "exit_code", "why"),
    [
        pytest.param(
            "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n",
            18,
            "Failed to initialize NVML: Driver/library version mismatch",
            id="driver mismatch",
        ),
        pytest.param("No devices were found\n", 6, "No devices were found", id="no card"),
        pytest.param("No devices were found\n", 0, "No devices were found", id="no card, and an exit code of 0"),
        pytest.param("", 9, "it ended with exit code 9", id="not a word"),
    ],
)
def test_no_answer_is_skipped_with_its_words(fake_nvidia_smi: Any, text: str, exit_code: int, why: str) -> None:
    fake_nvidia_smi(text, exit_code=exit_code)
    assert list(read_nvidia_smi()) == [Skipped("nvidia-smi", why)]


def test_no_such_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(read_nvidia_smi()) == [Skipped("nvidia-smi", "there is no such command on this machine")]


def test_a_command_that_cannot_be_run(fake_nvidia_smi: Any, tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").mkdir()
    (skipped,) = read_nvidia_smi()
    assert isinstance(skipped, Skipped) and "nvidia-smi" in skipped.why


def test_processes_that_may_not_be_seen_are_said_to_be_missing(fake_nvidia_smi: Any) -> None:
    """So it is on a split card for anybody but root."""
    untold = "[Insufficient Permissions]"
    fake_nvidia_smi("GPU-aaaa, 0, 4096, 4000, 0, Tesla T4\n", f"GPU-aaaa, {untold}, {untold}, {untold}\n")
    skipped, card = read_nvidia_smi()
    assert skipped == Skipped("processes", untold)
    assert isinstance(card, DeviceReading) and card.processes == ()
