"""What `memdoctor scan recipes/leaky_loss.py` takes as a process, beside `python -c pass` in the same run.

Both are started in turn, so that a busy moment of the machine meets both; the medians and the best of each are written.

    python benchmarks/scan_startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import _results

ROUNDS = 20
RECIPE = Path(__file__).parent.parent / "recipes" / "leaky_loss.py"
COMMANDS = {"python": ["-c", "pass"], "scan": ["-m", "memdoctor", "scan", str(RECIPE)]}


def main() -> None:
    """Measure, write the figures, and print them."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            seconds[name].append(_seconds(arguments))
    figures: dict[str, object] = {"rounds": ROUNDS, "goal_seconds": 0.25}
    for name, measured in seconds.items():
        figures[f"{name}_median_seconds"] = round(statistics.median(measured), 4)
        figures[f"{name}_best_seconds"] = round(min(measured), 4)
    print(_results.write("scan_startup", figures).read_text(encoding="utf-8"))


def _seconds(arguments: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
