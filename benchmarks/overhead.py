"""What watching costs: a CPU training loop of some 20 ms a step, plain and under memory tools, in turns within one run.

    python benchmarks/overhead.py [--memlab PYTHON]

`--memlab` names the Python of an environment with torch and pytorch_memlab, whose line profiler is then measured too.
`_record_memory_history` needs a card and is measured where there is one. memdoctor has one mode only: it reads counters
at each iteration, and looks closer where something grows; what observing a virtual card costs is in `attribution.py`.

The machine may be busy. Each tool has a process of its own, which stays under the tool through the whole run, so that
entering and the first iterations are not on the clock; the processes take turns of a few steps each while the others
sleep. A ratio is a tool's time in a round divided by the plain time of that round: the median over rounds, with the
interval that holds the true median in 95 of 100 runs. Independent of the machine's load are the Python functions of
memdoctor that an iteration calls. 100,000 empty iterations show what the process and the recording grow by.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from _overhead_worker import TOOLS, training
from _results import write

WORKER = str(Path(__file__).with_name("_overhead_worker.py"))
WARMUP_STEPS = 170
"""Searches of the heap come at iterations 5, 10, 20, 40, 80, 160, 320, 640, ... where nothing grows."""
ITERATIONS = 100_000
CLOCKED_STEPS = 600

Answer = dict[str, Any]


class Worker:
    """A process with one training loop under one tool; sleeps between its turns."""

    def __init__(self, tool: str, network: str, *words: str, python: str = sys.executable) -> None:
        path = os.pathsep.join([str(Path(WORKER).parent.parent), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [python, WORKER, tool, network, *words], env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )

    def run(self, steps: int) -> Answer:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise SystemExit(f"{self._process.args} ended with {self._process.wait()}")
            with contextlib.suppress(ValueError):  # a tool's own words
                return json.loads(line)  # type: ignore[no-any-return]  # what the worker prints

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def workers(tools: Sequence[str], network: str, memlab: str | None) -> Iterator[dict[str, Worker]]:
    started = {
        tool: Worker(tool, network, python=memlab if memlab and tool == "pytorch_memlab" else sys.executable)
        for tool in tools
    }
    try:
        for worker in started.values():
            worker.run(WARMUP_STEPS)
        yield started
    finally:
        for worker in started.values():
            worker.close()


def compared(tools: Sequence[str], network: str, rounds: int, steps: int, memlab: str | None = None) -> Answer:
    """Milliseconds a step, and the ratio to the plain loop by processor time and on the wall."""
    with workers(tools, network, memlab) as started:
        turns = [{name: worker.run(steps) for name, worker in started.items()} for _ in range(rounds)]
    figures: Answer = {"rounds": rounds, "steps_per_round": steps}
    for name in tools:
        seconds = statistics.median(turn[name]["processor"] for turn in turns)
        figures[name] = {"step_ms": round(1000 * seconds / steps, 3)}
        for clock in ("processor", "wall"):
            ratios = sorted(turn[name][clock] / turn["plain"][clock] for turn in turns)
            figures[name][f"{clock}_ratio"] = middle(ratios)
        print(f"{network:16} {name:32} {figures[name]}", flush=True)
    return figures


def middle(ordered: Sequence[float]) -> dict[str, float]:
    """The median, and the order statistics between which the true one lies in 95 of 100 cases."""
    count = len(ordered)
    below = max(0, int(count / 2 - 0.98 * count ** 0.5))
    return {
        "median": round(statistics.median(ordered), 4),
        "from": round(ordered[below], 4),
        "to": round(ordered[count - 1 - below], 4),
    }


def hook_microseconds(tool: str) -> dict[str, float]:
    """Wall time in memdoctor's hooks of each iteration of the 20 ms loop, whose caches the computation has emptied."""
    worker = Worker(tool, "small network", "clocked")
    try:
        worker.run(WARMUP_STEPS)
        clocked = sorted(worker.run(CLOCKED_STEPS)["hooks"])
    finally:
        worker.close()
    figures = {
        "lower quartile": round(clocked[len(clocked) // 4], 1), **middle(clocked),
        "mean, with a search of the heap and readings of the process tree": round(statistics.fmean(clocked), 1),
    }
    print(f"hooks            {tool:32} {figures}", flush=True)
    return figures


def calls_per_iteration(network: str) -> float:
    """Python functions of memdoctor that a steady iteration calls."""
    import memdoctor

    folder, calls = str(Path(memdoctor.__file__).parent), 0

    def count(frame: Any, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(folder)

    step = training(network)
    with memdoctor.profile():
        for _ in range(WARMUP_STEPS):
            step()
        sys.setprofile(count)
        try:
            for _ in range(100):
                step()
        finally:
            sys.setprofile(None)
    return calls / 100


def growth(each: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Bytes an iteration: of the process between a fifth and the end of very many, and of the recording."""
    import memdoctor
    from memdoctor.sensing.host import host_heap_bytes

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.mdoc"
        began = time.process_time()
        with memdoctor.profile(output=path) as prof:
            for number in range(ITERATIONS):
                each()
                prof.step()
                if number == ITERATIONS // 5:
                    before_bytes = host_heap_bytes()
            grown_bytes = host_heap_bytes() - before_bytes
            seconds = time.process_time() - began
        file_bytes = path.stat().st_size
    return {
        "iterations": ITERATIONS,
        "heap_bytes_per_iteration": round(grown_bytes / (0.8 * ITERATIONS), 2),
        "recording_bytes_per_iteration": round(file_bytes / ITERATIONS, 1),
        "processor_microseconds_per_iteration": round(1e6 * seconds / ITERATIONS, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memlab", metavar="PYTHON", help="Python of an environment with pytorch_memlab")
    parser.add_argument("--rounds", type=int, default=40)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    tools = [
        name for name in TOOLS
        if (name != "pytorch_memlab" or chosen.memlab)
        and (name != "_record_memory_history" or torch.cuda.is_available())
    ]
    figures: Answer = {"load_average": [round(load, 1) for load in os.getloadavg()]}
    figures["small network"] = compared(tools, "small network", chosen.rounds, 8, chosen.memlab)
    figures["1,000 modules"] = compared(["plain", "memdoctor"], "1,000 modules", chosen.rounds // 2, 4)
    figures["hook_microseconds"] = {
        tool: hook_microseconds(tool) for tool in ("memdoctor", "memdoctor, counters of a card")
    }
    figures["calls_per_iteration"] = {each: calls_per_iteration(each) for each in ("small network", "1,000 modules")}
    figures["growth"] = growth()
    for name in ("calls_per_iteration", "growth"):
        print(f"{name:16} {figures[name]}")
    if not chosen.memlab:
        figures["pytorch_memlab"] = "not measured"
    print(write("overhead", figures))


if __name__ == "__main__":
    main()
