"""What the READMEs show of memdoctor's output: `python -m tests.golden.readmes` writes it anew, for review."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READMES = (ROOT / "README.md", ROOT / "recipes" / "README.md")
BLOCK = re.compile(r"(```console\n\$ (memdoctor [^\n]+)\n)(.*?)```", flags=re.DOTALL)
"""A block's head, its command, and what is shown of the output."""


def blocks_of(readme: Path) -> list[tuple[str, str]]:
    """Each command with what is shown for it."""
    return [(block[2], block[3]) for block in BLOCK.finditer(readme.read_text(encoding="utf-8"))]


def output_of(command: str) -> str:
    """Standard output as a terminal of 80 columns gets it."""
    words = [sys.executable, "-m", *shlex.split(command)]
    environment = {**os.environ, "COLUMNS": "80"}
    run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    return run.stdout.replace("python -m memdoctor", "memdoctor")


def shown_of(output: str) -> str:
    """All but the summary of a run, which is alike for all."""
    return output.partition("\n\n  device")[0].rstrip("\n") + "\n"


def comparable(text: str) -> str:
    """Without line breaks, and without the host memory of a process, which differs from machine to machine."""
    return re.sub(r"process [\d.]+ MiB|[\d.]+ KiB of host", "...", " ".join(text.split()))


def rewrite(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    readme.write_text(BLOCK.sub(lambda block: f"{block[1]}{shown_of(output_of(block[2]))}```", text), encoding="utf-8")


if __name__ == "__main__":
    for readme in READMES:
        rewrite(readme)
