"""How many leaking programs are named right: runs a test bed of programs with known truth.

    python benchmarks/retention.py FOLDER [CARD]

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("card", nargs="?", default="a100-40gb")
    arguments = parser.parse_args()
    command = f"{sys.executable} -m memdoctor run --virtual {arguments.card} --format json {{program}}"
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        judge = [sys.executable, str(arguments.folder / "evaluate.py"), str(arguments.folder)]
        subprocess.run([*judge, "--command", command, "--json", str(figures)], check=False)
        print(write("retention", {"card": arguments.card, **json.loads(figures.read_text())}))


if __name__ == "__main__":
    main()
