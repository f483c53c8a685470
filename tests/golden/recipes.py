"""What is printed in `recipes/README.md`: `python -m tests.golden.recipes` writes it anew, and a person reviews it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "recipes" / "README.md"
BLOCK = re.compile(r"(```console\n\$ (memdoctor [^\n]+)\n)(.*?)```", flags=re.DOTALL)
"""A block's head, its command, and what is shown of the output."""


def output_of(command: str) -> str:
    words = [sys.executable, "-m", *shlex.split(command)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120).stdout


def shown_of(output: str) -> str:
    """All but the summary of a run, which is alike for all."""
    return output.partition("\n\n  device")[0].rstrip("\n") + "\n"


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda block: f"{block[1]}{shown_of(output_of(block[2]))}```", text), encoding="utf-8")
