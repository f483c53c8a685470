"""The command as a user types it: exit codes, and what goes to which stream."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import time, torch
def make_step(batch_size):
    print("the program speaks")
    time.sleep({seconds})
    return lambda: torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
"""
COMMAND = [sys.executable, "-m", "memdoctor", "sweep", "train.py:make_step"]


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(PROGRAM.format(seconds=0), encoding="utf-8")
    return tmp_path


def test_the_table_is_the_only_thing_on_standard_output(folder: Path) -> None:
    run = sweep(folder, "--sizes", "8,33", "--cards", "64MiB, 96MiB")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[:5] == [
        "train.py:make_step: the peak of its steps, by batch size and card.",
        "",
        "batch size       64MiB       96MiB",
        "         8    16.0 MiB    16.0 MiB",
        "        33        full    66.0 MiB",
    ]
    assert "the program speaks" in run.stderr
    assert "trying" not in run.stderr, "no progress bar without a terminal"


def test_nothing_fits_is_exit_code_1_and_json_goes_to_the_file(folder: Path) -> None:
    run = sweep(folder, "--sizes", "40", "--cards", "64MiB", "--format", "json", "--output", "sweep.json")
    assert (run.returncode, run.stdout) == (1, "")
    assert json.loads((folder / "sweep.json").read_text())["points"][0]["fits"] is False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--sizes", "8,big", "--cards", "64MiB"], "8,big is no list of batch sizes", id="a word"),
        pytest.param(["--sizes", "8,0", "--cards", "64MiB"], "8,0 is no list of batch sizes", id="a size of 0"),
        pytest.param(["--sizes", "8", "--cards", "rtx9999"], "no card is called 'rtx9999'", id="unknown card"),
        pytest.param(["--sizes", "8"], "Missing option '--cards'", id="no cards"),
        pytest.param(["--sizes", "8", "--cards", "64MiB", "--results", "no/folder"], "no/folder cannot be written",
                     id="unwritable results"),
        pytest.param(["--sizes", "8", "--cards", "64MiB", "--output", "no/folder"], "no/folder cannot be written",
                     id="unwritable output"),
    ],
)
def test_what_was_mistyped_is_a_sentence_and_exit_code_2(arguments: list[str], says: str, folder: Path) -> None:
    run = sweep(folder, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_a_person_at_a_terminal_sees_progress_after_a_second(folder: Path) -> None:
    (folder / "train.py").write_text(PROGRAM.format(seconds=1.5), encoding="utf-8")
    assert "trying" in shown_at_a_terminal(folder, "--sizes", "8", "--cards", "64MiB")


def test_a_sweep_that_is_done_shows_no_progress(folder: Path) -> None:
    digest = hashlib.sha256((folder / "train.py").read_bytes()).hexdigest()
    header = {"version": 1, "program": "train.py:make_step", "digest": digest}
    point = {"batch_size": 8, "card": "64MiB", "fits": True, "peak_bytes": 1, "margin_bytes": 2, "seconds": 0.5}
    (folder / "done.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(point)}\n", encoding="utf-8")
    arguments = ["--sizes", "8", "--cards", "64MiB", "--results", "done.jsonl"]
    assert shown_at_a_terminal(folder, *arguments) == ""


def shown_at_a_terminal(folder: Path, *arguments: str) -> str:
    """What the command writes to standard error, with a terminal there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    text = b"".join(iter(lambda: read(ours), b"")).decode()
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return text


def read(terminal: int) -> bytes:
    """Empty once nobody writes to it any more, which Linux calls an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_the_command_itself_never_imports_torch() -> None:
    program = "import memdoctor.cli.sweep, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
