"""The README shows what memdoctor really prints, and its two commands are what it says they are."""

from __future__ import annotations

import pytest

from tests.golden.readmes import READMES, blocks_of, comparable, output_of, shown_of

README = READMES[0]
BLOCKS = blocks_of(README)


@pytest.mark.parametrize(("command", "shown"), [pytest.param(*block, id=block[0]) for block in BLOCKS])
def test_a_block_is_the_real_output(command: str, shown: str) -> None:
    """If the change is wanted: `python -m tests.golden.readmes`."""
    assert comparable(shown_of(output_of(command))) == comparable(shown)


def test_every_command_has_its_help_there() -> None:
    from memdoctor.cli import COMMANDS

    shown = {command for command, _ in BLOCKS}
    assert {f"memdoctor {name} --help" for name in COMMANDS} | {"memdoctor --help"} <= shown


def test_the_two_commands_are_one_line_each_and_use_their_own_environment() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv .venv && ")]
    assert len(commands) == 2
    assert "recipes/leaky_loss.py" in commands[0] and commands[1].endswith("-m pytest -q")
