"""What watching costs: a CPU training loop of 20 ms steps, plain and under memory tools, in turns within one run.

    python benchmarks/overhead.py [--memlab PYTHON]

`--memlab` names the Python of an environment with torch and pytorch_memlab, whose line profiler is then measured too,
beside a plain loop of that environment.

The machine may be busy: processor time is counted on one thread, each round runs every mode once, and a ratio is the
median over rounds of a mode's time divided by the plain time of the same round. Entering, leaving and the first steps,
in which memdoctor looks more often, are not steady state and stay outside of the clock. The hook itself is also clocked
alone, and 100,000 empty iterations show what the process and the recording grow by. `_record_memory_history` needs a
card and is measured where there is one.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from _results import write
from torch import nn

ROUNDS = 6
WARMUP_STEPS = 165
"""Searches of the heap come at iterations 5, 10, 20, 40, 80, 160, 320, 640, ... where nothing grows."""
STEPS = 140
BATCH_SIZE = 128
ITERATIONS = 100_000

Mode = Callable[[], contextlib.AbstractContextManager[object]]


def training() -> Callable[[], None]:
    """One step of a small convolutional network: some 20 ms, 14 modules, AdamW."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layers = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(32 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10)]
    model = nn.Sequential(*layers, *head).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters())
    images, labels = torch.randn(BATCH_SIZE, 1, 16, 16).to(device), torch.randint(10, (BATCH_SIZE,)).to(device)

    def step() -> None:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()

    return step


def step_seconds(mode: Mode) -> float:
    """Processor seconds a step, after the warm-up."""
    step = training()
    with mode() as tool:
        each_step = getattr(tool, "reset_mod_stats", lambda: None)  # MemTracker wants it between iterations
        for _ in range(WARMUP_STEPS):
            step()
            each_step()
        started = time.process_time()
        for _ in range(STEPS):
            step()
            each_step()
        return (time.process_time() - started) / STEPS


def compared(modes: dict[str, Mode]) -> dict[str, object]:
    """Seconds a step and the ratio to the first mode, which is the plain one."""
    rounds = [{name: step_seconds(mode) for name, mode in modes.items()} for _ in range(ROUNDS)]
    figures: dict[str, object] = {}
    for name in modes:
        figures[name] = {
            "step_seconds": round(statistics.median(seconds[name] for seconds in rounds), 6),
            "ratio_to_plain": round(statistics.median(seconds[name] / seconds["plain"] for seconds in rounds), 4),
        }
        print(f"{name:32} {figures[name]}", flush=True)
    return figures


def modes() -> dict[str, Mode]:
    """Those that this environment has."""
    import memdoctor

    cpu = [torch.profiler.ProfilerActivity.CPU]
    known: dict[str, Mode] = {
        "plain": contextlib.nullcontext,
        "memdoctor": memdoctor.profile,
        "torch.profiler(profile_memory)": lambda: torch.profiler.profile(activities=cpu, profile_memory=True),
    }
    with contextlib.suppress(ImportError):
        from torch.distributed._tools.mem_tracker import MemTracker

        known["MemTracker"] = MemTracker
    if torch.cuda.is_available():
        known["_record_memory_history"] = recorded_history
    return known


@contextlib.contextmanager
def recorded_history() -> Iterator[None]:
    torch.cuda.memory._record_memory_history()
    try:
        yield
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)


def memlab_modes() -> dict[str, Mode]:
    """pytorch_memlab traces the lines of functions that it is told of: here, of the whole step."""
    from pytorch_memlab import LineProfiler

    @contextlib.contextmanager
    def traced() -> Iterator[None]:
        with LineProfiler(nn.Sequential.forward, torch.optim.AdamW.step, training):
            yield

    return {"plain": contextlib.nullcontext, "pytorch_memlab": traced}


def hook_microseconds() -> dict[str, float]:
    """Processor time of the hook that ends an iteration, in the training loop above."""
    import memdoctor
    from memdoctor.session import Session

    clocked: list[int] = []
    inner = Session._on_iteration

    def timed(session: Session, unit: str, phase: str) -> None:
        began = time.thread_time_ns()
        inner(session, unit, phase)
        clocked.append(time.thread_time_ns() - began)

    Session._on_iteration = timed  # type: ignore[method-assign]  # the clock around it
    try:
        step = training()
        with memdoctor.profile():
            for _ in range(WARMUP_STEPS + 1000):
                step()
    finally:
        Session._on_iteration = inner  # type: ignore[method-assign]  # put back
    steady = [nanoseconds / 1000 for nanoseconds in clocked[WARMUP_STEPS:]]
    return {
        "median": round(statistics.median(steady), 1),
        "mean, with two searches of the heap and some readings of the process tree": round(statistics.fmean(steady), 1),
    }


def growth() -> dict[str, float]:
    """Bytes an iteration: of the process between a fifth and the end of very many, and of the recording."""
    import memdoctor
    from memdoctor.sensing.host import host_heap_bytes

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.mdoc"
        with memdoctor.profile(output=path) as prof:
            for number in range(ITERATIONS):
                prof.step()
                if number == ITERATIONS // 5:
                    before_bytes = host_heap_bytes()
            grown_bytes = host_heap_bytes() - before_bytes
        file_bytes = path.stat().st_size
    return {
        "iterations": ITERATIONS,
        "heap_bytes_per_iteration": round(grown_bytes / (0.8 * ITERATIONS), 2),
        "recording_bytes_per_iteration": round(file_bytes / ITERATIONS, 1),
    }


def memlab(python: str) -> dict[str, object]:
    """The same loop in that environment, by this file itself."""
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    words = [python, __file__, "--only-memlab"]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]  # what `main` prints there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memlab", metavar="PYTHON", help="Python of an environment with pytorch_memlab")
    parser.add_argument("--only-memlab", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.only_memlab:
        print(json.dumps(compared(memlab_modes())))
        return
    figures: dict[str, object] = {"rounds": ROUNDS, "steps_per_round": STEPS, **compared(modes())}
    figures["hook_microseconds"] = hook_microseconds()
    figures["growth"] = growth()
    figures["pytorch_memlab, own environment"] = memlab(chosen.memlab) if chosen.memlab else "not measured"
    for name in ("hook_microseconds", "growth", "pytorch_memlab, own environment"):
        print(f"{name:32} {figures[name]}")
    print(write("overhead", figures))


if __name__ == "__main__":
    sys.exit(main())
