"""memdoctor beside the batch-size finders of other packages: the same steps, cards and largest size, in one run.

    pip install accelerate lightning toma
    python benchmarks/batch_size_finders.py          # every fifth of 60 combinations
    python benchmarks/batch_size_finders.py --all

Exact: without any finder the answer trains three steps, and one more sample does not. To memdoctor a size at which
every step empties PyTorch's cache does not fit either; the other finders are right with such sizes and without.
Recordings are steps that memdoctor runs on a card without end, to know where to look; trials are steps on the card
itself. Each search is a process of its own, and its seconds are processor time, that of all imports and of the
processes it starts included.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import _image_models
import _sequence_models
import torch
from _other_finders import FINDERS, MAX_SIZE
from _results import version, write
from _training_step import Step

from memdoctor.virtual.gpu import virtual_gpu

CARDS = ("rtx4060", "t4", "rtx4090")
COMBINATIONS = [
    (model, card) for models in zip(_image_models.MODELS, _sequence_models.MODELS) for model in models for card in CARDS
]
EVERY = 5
SECONDS = 300
FOLDER = Path(__file__).parent


def main() -> None:
    order = [combination for start in range(EVERY) for combination in COMBINATIONS[start::EVERY]]
    chosen = order if "--all" in sys.argv else COMBINATIONS[::EVERY]
    rows: list[dict[str, Any]] = []
    for done, (model, card) in enumerate(chosen, start=1):
        rows += searches(model, card)
        path = write("batch_size_finders", figures(rows, done))  # after each, because all of them take most of an hour
    print(path)


def figures(rows: list[dict[str, Any]], done: int) -> dict[str, object]:
    return {
        "combinations": f"{done} of {len(COMBINATIONS)}",
        "packages": {name: version(name) for name in ("accelerate", "lightning", "toma")},
        "finders": {finder: summary([row for row in rows if row["finder"] == finder]) for finder in COMMANDS},
        "searches": rows,
    }


def memdoctor_command(make_step: Callable[[int], Step], card: str) -> list[str]:
    return [str(FOLDER / "_our_finder.py"), _file(make_step), make_step.__name__, card, str(MAX_SIZE)]


def other_command(finder: str, make_step: Callable[[int], Step], card: str) -> list[str]:
    return [str(FOLDER / "_other_finders.py"), finder, _file(make_step), make_step.__name__, card]


COMMANDS: dict[str, Callable[[Callable[[int], Step], str], list[str]]] = {
    "memdoctor": memdoctor_command,
    **{name: lambda make_step, card, name=name: other_command(name, make_step, card) for name in FINDERS},
}


def searches(make_step: Callable[[int], Step], card: str) -> list[dict[str, Any]]:
    """One row for each finder."""
    answers = {finder: _answer(command(make_step, card)) for finder, command in COMMANDS.items()}
    guess = answers["memdoctor"]["batch_size"]
    calm = _largest(guess, lambda size: _runs(make_step, size, card).is_calm)
    until_full = _largest(calm, lambda size: _runs(make_step, size, card).ends)
    rows = []
    for finder, answer in answers.items():
        largest = calm if finder == "memdoctor" or answer["batch_size"] == calm else until_full
        rows.append({"finder": finder, "model": make_step.__name__, "card": card, "largest": largest, **answer})
        print(rows[-1], flush=True)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the combinations where at least one sample fits."""
    rows = [row for row in rows if row["largest"]]
    return {
        "searches": len(rows),
        "exact_percent": round(100 * statistics.mean(row["batch_size"] == row["largest"] for row in rows), 1),
        "mean_share_of_largest": round(statistics.mean(row["batch_size"] / row["largest"] for row in rows), 3),
        "mean_trials": round(statistics.mean(row["trials"] for row in rows), 2),
        "mean_recordings": round(statistics.mean(row.get("recordings", 0) for row in rows), 2),
        "mean_out_of_memory": round(statistics.mean(row["out_of_memory"] for row in rows), 2),
        "most_out_of_memory": max(row["out_of_memory"] for row in rows),
        "total_seconds": round(sum(row["seconds"] for row in rows), 1),
    }


def _answer(command: Sequence[str]) -> dict[str, Any]:
    """What a finder printed; a search that failed, or did not end, found 0."""
    before = _seconds_of_children()
    found = {"batch_size": 0, "trials": 0, "out_of_memory": 0}
    with contextlib.suppress(subprocess.TimeoutExpired, json.JSONDecodeError):
        run = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=SECONDS)
        found = json.loads(run.stdout)
    return {**found, "seconds": round(_seconds_of_children() - before, 2)}


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _largest(guess: int, fits: Callable[[int], bool]) -> int:
    """By halving the bracket in this process; a guess that is right makes it a matter of two runs."""
    fitting, failing = 0, MAX_SIZE + 1
    for size in (guess, guess + 1):
        if fitting < size < failing:
            fitting, failing = (size, failing) if fits(size) else (fitting, size)
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        fitting, failing = (middle, failing) if fits(middle) else (fitting, middle)
    return fitting


class Ending(NamedTuple):
    """How three steps went; `is_calm` if the third found room without emptying the cache."""

    ends: bool
    is_calm: bool


@functools.cache
def _runs(make_step: Callable[[int], Step], batch_size: int, card: str) -> Ending:
    with virtual_gpu(card):
        try:
            step = make_step(batch_size)
            step()
            step()
            before = torch.cuda.memory_stats()["num_alloc_retries"]
            step()
            return Ending(True, torch.cuda.memory_stats()["num_alloc_retries"] == before)
        except torch.OutOfMemoryError:
            return Ending(False, False)
        finally:
            gc.collect()


def _file(make_step: Callable[[int], Step]) -> str:
    return str(FOLDER / f"{make_step.__module__}.py")


if __name__ == "__main__":
    main()
