"""The command as a user types it: exit codes, what goes to which stream, and no traceback for what was mistyped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import torch
def make_step(batch_size):
    print("the program speaks")
    return lambda: torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
"""


def batch_size(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memdoctor", "batch-size", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def make_step(:\n", encoding="utf-8")
    (tmp_path / "raises.py").write_text("def make_step(n): raise ValueError('labels start at 1')", encoding="utf-8")
    return tmp_path


def test_json_is_the_only_thing_on_standard_output(folder: Path) -> None:
    run = batch_size(folder, "train.py:make_step", "--card", "64MiB", "--multiple-of", "10", "--format", "json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["batch_size"] == 30
    assert "the program speaks" in run.stderr
    assert "memdoctor: batch size 40 does not fit: the card is full" in run.stderr


SCRIPT = """
import argparse, torch
parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, required=True)
parser.add_argument("--mib", type=int, default=1)
arguments = parser.parse_args()
weight = torch.zeros(1, device="cuda", requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=0.1)
while True:
    batch = torch.empty(arguments.batch_size, arguments.mib * 2**20, dtype=torch.uint8, device="cuda")
    weight.sum().backward()
    optimizer.step()
    del batch
"""


def test_a_script_is_started_as_it_stands(folder: Path) -> None:
    """2 MiB a sample, and 2 MiB for all that is small; it trains for ever, and is ended."""
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    arguments = ["--batch-arg", "--batch-size", "--card", "128MiB", "--format", "json", "--", "--mib", "2"]
    run = batch_size(folder, "script.py", *arguments)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["batch_size"] == 63
    assert "memdoctor: --batch-size 64 does not fit" in run.stderr


def test_which_cards_is_a_table(folder: Path) -> None:
    run = batch_size(folder, "train.py:make_step", "--which-cards", "8000")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("The smallest card that fits batch size 8000 is l4")


def test_nothing_fits_is_exit_code_1_and_output_goes_to_the_file(folder: Path) -> None:
    arguments = ["--card", "64MiB", "--multiple-of", "40", "--output", "answer.txt"]
    run = batch_size(folder, "train.py:make_step", *arguments)
    assert (run.returncode, run.stdout) == (1, "")
    assert (folder / "answer.txt").read_text().startswith("Not even batch size 40 fits on 64MiB.\n")


def test_an_error_of_the_program_shows_its_traceback_then_a_sentence(folder: Path) -> None:
    run = batch_size(folder, "raises.py:make_step", "--card", "64MiB")
    assert (run.returncode, run.stdout) == (2, "")
    traceback, _, sentence = run.stderr.partition("memdoctor: ")
    assert traceback.splitlines()[0] == "Traceback (most recent call last):"
    assert traceback.splitlines()[-1] == "ValueError: labels start at 1"
    assert sentence.startswith("raises.py:make_step failed at batch size 2, not for memory: ValueError: labels start")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["train.py"], "train.py names no function of a file.", id="no function"),
        pytest.param(["missing.py:make_step"], "missing.py cannot be read: No such file", id="no file"),
        pytest.param(["broken.py:make_step"], "broken.py is not Python: ", id="not Python"),
        pytest.param(["train.py:make_step", "--card", "rtx9999"], "no card is called 'rtx9999'", id="unknown card"),
        pytest.param(["train.py:make_step", "--card", "2"], "write 2GiB", id="a card without a unit"),
        pytest.param(
            ["train.py", "--batch-arg", "-b", "--axis", "n"], "--axis and --at are for a function",
            id="axis of a script"),
        pytest.param(["train.py:make_step", "--multiple-of", "8", "--max", "7"], "no batch size", id="empty grid"),
        pytest.param(["train.py:make_step", "--output", "no/folder"], "no/folder cannot be written", id="unwritable"),
        pytest.param(["train.py:make_step", "--margin", "x"], "'x' is no part of a card. Write 2%.", id="no margin"),
        pytest.param(["train.py:make_step", "--margin", "100%"], "100% leaves nothing", id="all of it a margin"),
        pytest.param(["train.py:make_step", "--at", "n"], "'n' sets no argument", id="no number"),
        pytest.param(["train.py:make_step", "--", "--epochs"], "can only be given to a script", id="no script"),
        pytest.param(
            ["train.py:make_step", "--which-cards", "8", "--format", "svg"], "has no picture", id="a picture of cards"),
        pytest.param(["train.py:make_step", "--multiple-of", "0"], "0 is not in the range", id="a multiple of 0"),
    ],
)
def test_what_was_mistyped_is_a_sentence_and_exit_code_2(arguments: list[str], says: str, folder: Path) -> None:
    run = batch_size(folder, *arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_the_search_itself_never_imports_torch(folder: Path) -> None:
    """It costs two seconds, which only the trials should pay."""
    program = "import memdoctor.cli.batch_size, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
