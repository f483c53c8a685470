"""The README shows what memdoctor really prints."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ (memdoctor [^\n]+)\n(.*?)```", README, flags=re.DOTALL)


def printed(command: str) -> str:
    """What the command writes to standard output, 80 columns wide, in the folder of the project."""
    words = [sys.executable, "-m", *shlex.split(command)]
    environment = {"PATH": "", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120).stdout


def test_there_is_something_to_compare() -> None:
    commands = [command for command, _ in BLOCKS]
    assert any(command.endswith("--help") for command in commands)
    assert any(command.startswith("memdoctor run") and "leaky_loss.py" in command for command in commands)


@pytest.mark.parametrize(("command", "shown"), [pytest.param(*block, id=block[0]) for block in BLOCKS])
def test_a_block_is_the_real_output(command: str, shown: str) -> None:
    assert printed(command).replace("python -m memdoctor", "memdoctor").strip() == shown.strip()


def test_the_two_commands_are_one_line_each_and_use_their_own_environment() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert len(commands) == 2
    assert "recipes/leaky_loss.py" in commands[0] and commands[1].endswith("-m pytest -q")
