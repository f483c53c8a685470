"""How many leaking programs are named right: runs a test bed of programs with known truth.

    python benchmarks/retention.py FOLDER [CARD ...]

FOLDER holds `programs/`, `truth.json` and `evaluate.py`, which compares what `memdoctor run --format json` says with
the truth; see the README there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from _results import write


_SECONDS = "300"
"""A program takes three, on a machine that does nothing else."""


def judged(programs: Path, card: str) -> dict[str, object]:
    """What `evaluate.py` says of all programs on that card; `none` is the host as it is, without a ledger."""
    command = f"{sys.executable} -m memdoctor run --virtual {card} --format json {{program}}"
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        judge = [sys.executable, str(programs / "evaluate.py"), str(programs), "--timeout", _SECONDS]
        subprocess.run([*judge, "--command", command, "--json", str(figures)], check=False)
        said: dict[str, object] = json.loads(figures.read_text())
        return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cards", nargs="*", default=["a100-40gb", "none"])
    arguments = parser.parse_args()
    print(write("retention", {card: judged(arguments.folder, card) for card in arguments.cards}))


if __name__ == "__main__":
    main()
