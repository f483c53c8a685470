"""Whole programs in the style of PyTorch's examples: they run unmodified and pass their own assertions."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from memdoctor.virtual.gpu import virtual_gpu

FOLDER = Path(__file__).parent / "programs"
NEEDS_VALUES = {"reinforce"}
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_the_program_runs_to_its_end_and_takes_the_same_bytes_with_values_and_without(name: str) -> None:
    kinds = ["real"] if name in NEEDS_VALUES else ["real", "zeros"]
    peaks = set()
    for values in kinds:
        with virtual_gpu("a100-40gb", values=values) as gpu:
            runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
            peaks.add((gpu.max_allocated_bytes, gpu.max_reserved_bytes))
    assert len(peaks) == 1 and min(peaks) > (0, 0)


def test_the_command_computes_values_on_request() -> None:
    command = ["-m", "memdoctor", "run", "--virtual", "8GiB", "--values", "real", str(FOLDER / "reinforce.py")]
    ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert "the host computed them" in " ".join(ran.stdout.split())
