"""What `memdoctor scan recipes/leaky_loss.py` takes as a process, beside `python -c pass` in the same run.

Both are started in turn, so that a busy moment of the machine meets both. Written are medians and the best of each, in
seconds on the wall and of the processor. Byte code is kept between the rounds, as it is of an installed package.

    python benchmarks/scan_startup.py
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _results

ROUNDS = 20
MORE_SECONDS = 0.060
"""The goal: twice `python -c pass`, and this."""
RECIPE = Path(__file__).parent.parent / "recipes" / "leaky_loss.py"
COMMANDS = {"python": ["-c", "pass"], "scan": ["-m", "memdoctor", "scan", str(RECIPE)]}


def main() -> None:
    """Measure, write the figures, and print them."""
    wall: dict[str, list[float]] = {name: [] for name in COMMANDS}
    processor: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as byte_code:
        for number in range(ROUNDS + 1):
            for name, arguments in COMMANDS.items():
                seconds = _seconds(arguments, byte_code)
                if number:  # the first writes the byte code
                    wall[name].append(seconds[0])
                    processor[name].append(seconds[1])
    figures: dict[str, object] = {"rounds": ROUNDS}
    for kind, measured in (("wall", wall), ("processor", processor)):
        figures[kind] = {
            f"{name}_{what}_seconds": round(of(measured[name]), 4)
            for name in COMMANDS for what, of in (("median", statistics.median), ("best", min))
        }
        goal = 2 * statistics.median(measured["python"]) + MORE_SECONDS
        figures[f"{kind}_share_of_goal"] = round(statistics.median(measured["scan"]) / goal, 2)
    print(_results.write("scan_startup", figures).read_text(encoding="utf-8"))


def _seconds(arguments: list[str], byte_code: str) -> tuple[float, float]:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": byte_code, "PYTHONDONTWRITEBYTECODE": ""}
    begin, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False, env=environment)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begin, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


if __name__ == "__main__":
    main()
