"""What watching costs: a CPU training loop plain, under memdoctor and under torch.profiler, in turns within one run.

    python benchmarks/overhead.py

The machine may be busy: processor time is counted on one thread, each round runs every mode once, and the figure is the
median over rounds of a mode's time divided by the plain time of the same round. Entering, leaving and the first steps,
in which memdoctor looks more often, are not steady state and stay outside of the clock.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

import torch
from _results import write
from torch import nn

import memdoctor

ROUNDS = 8
WARMUP_STEPS = 50
STEPS = 200
BATCH_SIZE = 64

Mode = Callable[[], contextlib.AbstractContextManager[object]]


def training() -> Callable[[], None]:
    """One step of a small convolutional network: some 15 ms, 14 modules, AdamW."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters())
    images, labels = torch.randn(BATCH_SIZE, 1, 16, 16), torch.randint(10, (BATCH_SIZE,))

    def step() -> None:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()

    return step


def step_seconds(mode: Mode) -> float:
    """Processor seconds a step, after the warm-up."""
    step = training()
    with mode():
        for _ in range(WARMUP_STEPS):
            step()
        started = time.process_time()
        for _ in range(STEPS):
            step()
        return (time.process_time() - started) / STEPS


def main() -> None:
    torch.set_num_threads(1)
    cpu = [torch.profiler.ProfilerActivity.CPU]
    modes: dict[str, Mode] = {
        "plain": contextlib.nullcontext,
        "memdoctor": memdoctor.profile,
        "torch.profiler(profile_memory)": lambda: torch.profiler.profile(activities=cpu, profile_memory=True),
    }
    rounds = [{name: step_seconds(mode) for name, mode in modes.items()} for _ in range(ROUNDS)]
    figures: dict[str, object] = {"rounds": ROUNDS, "steps_per_round": STEPS}
    for name in modes:
        ratio = statistics.median(seconds[name] / seconds["plain"] for seconds in rounds)
        figures[name] = {
            "step_seconds": round(statistics.median(seconds[name] for seconds in rounds), 6),
            "ratio_to_plain": round(ratio, 4),
        }
        print(f"{name:32} {figures[name]}")
    print(write("overhead", figures))


if __name__ == "__main__":
    main()
