"""What it costs to know where each byte of a virtual card was allocated, as a ratio of step times within one run.

    python benchmarks/attribution.py

A profile that is opened before the virtual card reads the same counters, but does not observe births: the two orders of
`with` are compared. The machine may be busy: processor time is counted, both modes run once in each round, and the
figure is the median over rounds of the ratio. Batches are small, so that bookkeeping is as large a part as it can be.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from _results import write
from torch import nn

import memdoctor

ROUNDS = 8
WARMUP_STEPS = 15
STEPS = 60
WIDTH = 512


@contextlib.contextmanager
def observed() -> Iterator[None]:
    with memdoctor.virtual_gpu("24GiB"), memdoctor.profile():
        yield


@contextlib.contextmanager
def counted() -> Iterator[None]:
    with memdoctor.profile(), memdoctor.virtual_gpu("24GiB"):
        yield


def training() -> Callable[[], None]:
    """One step of eight blocks of two layers: 42 modules, AdamW."""
    blocks = [
        nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        for _ in range(8)
    ]
    model = nn.Sequential(*blocks, nn.Linear(WIDTH, 10)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    inputs, labels = torch.randn(64, WIDTH).cuda(), torch.randint(10, (64,)).cuda()

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


def step_seconds(mode: Callable[[], contextlib.AbstractContextManager[None]]) -> float:
    with mode():
        step = training()
        for _ in range(WARMUP_STEPS):
            step()
        started = time.process_time()
        for _ in range(STEPS):
            step()
        return (time.process_time() - started) / STEPS


def main() -> None:
    step_seconds(observed)  # imports and caches of meta kernels
    rounds = [(step_seconds(counted), step_seconds(observed)) for _ in range(ROUNDS)]
    figures: dict[str, object] = {
        "rounds": ROUNDS,
        "steps_per_round": STEPS,
        "counted_step_seconds": round(statistics.median(plain for plain, _ in rounds), 6),
        "observed_step_seconds": round(statistics.median(full for _, full in rounds), 6),
        "ratio": round(statistics.median(full / plain for plain, full in rounds), 4),
    }
    print(figures)
    print(write("attribution", figures))


if __name__ == "__main__":
    main()
