"""`memdoctor gpus` on machines with and without cards; it always ends with exit code 0 and without a traceback."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest
from click.testing import CliRunner

from memdoctor.cli import cli

CARD = "GPU-aaaa, 0, 40960, 30720, 35, NVIDIA A100-SXM4-40GB\n"
PROCESSES = "GPU-aaaa, 4711, 9216, python train.py\nGPU-aaaa, 4712, [N/A], [Not Found]\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine that has only the command `nvidia-smi`, with these answers; until they are given, not even that."""

    def no_library() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def install(cards: str, processes: str) -> None:
        script = tmp_path / "nvidia-smi"
        answers = f"--query-gpu=*) printf %s {shlex.quote(cards)};; *) printf %s {shlex.quote(processes)};;"
        script.write_text(f"#!/bin/sh\ncase $1 in {answers} esac\n")
        script.chmod(0o755)

    monkeypatch.setattr(pynvml, "nvmlInit", no_library)
    monkeypatch.setitem(sys.modules, "GPUtil", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return install


def output_of(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["gpus", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_card_and_its_processes(machine: Any) -> None:
    machine(CARD, PROCESSES)
    assert output_of().splitlines()[:3] == [
        "card 0  NVIDIA A100-SXM4-40GB: 10.0 GiB of 40.0 GiB used, 30.0 GiB free, 35 % busy  (nvidia-smi)",
        "  pid    4711    9.0 GiB  python train.py",
        "  pid    4712   not told  [Not Found]",
    ]


def test_without_any_source_a_sentence_and_the_reasons(machine: Any) -> None:
    first, *reasons = output_of().splitlines()
    assert first.startswith("No NVIDIA card can be seen here.")
    assert reasons[0] == "not looked at: NVML: NVML Shared Library Not Found"
    assert reasons[2] == "not looked at: nvidia-smi: there is no such command on this machine"


def test_json_has_a_version_and_bytes(machine: Any) -> None:
    machine(CARD, PROCESSES)
    report = json.loads(output_of("--format", "json"))
    assert report["version"] == 1
    assert report["cards"][0]["used_bytes"] == 10 * 2**30
    assert report["cards"][0]["processes"][1] == {"pid": 4712, "name": "[Not Found]", "used_bytes": None}
    assert [skipped["what"] for skipped in report["skipped"]] == ["NVML", "GPUtil"]


def test_the_catalogue_lists_names_to_type() -> None:
    lines = [line.split() for line in output_of("--catalogue").splitlines()]
    assert ["a100-40gb", "39.4", "GiB", "NVIDIA", "A100-SXM4-40GB"] in lines
    cards = json.loads(output_of("--catalogue", "--format", "json"))["cards"]
    assert cards["a100-40gb"]["total_bytes"] == 42_298_834_944


def test_watch_shows_it_again_until_ctrl_c() -> None:
    """One line of JSON each time; exit code 0 and nothing on standard error."""
    command = [sys.executable, "-m", "memdoctor", "gpus", "--watch", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        readings = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert [reading["version"] for reading in readings] == [1, 1]
    assert (process.returncode, errors) == (0, "")
