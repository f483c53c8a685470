"""How many trials the largest batch size takes, how many of them fill the card, and whether the answer is exact.

    python benchmarks/batch_size_trials.py

Exact: in this process, without the finder, the answer trains two steps and one more sample does not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _batch_size_models import MODELS, Step
from _results import write

from memdoctor.batch_size import find_batch_size
from memdoctor.virtual.gpu import virtual_gpu

CARDS = ("1GiB", "4GiB", "a100-40gb")
BEYOND_ALL = 2**20
"""No search ends at its maximum, where there is nothing to refute."""

SOURCE = Path(__file__).with_name("_batch_size_models.py")


def main() -> None:
    print(write("batch_size_trials", figures([search(model, card) for card in CARDS for model in MODELS])))


def figures(pairs: list[dict[str, object]]) -> dict[str, object]:
    return {
        "pairs": pairs,
        "exact": sum(pair["exact"] is True for pair in pairs),
        "mean_trials": _mean(pairs, "trials"),
        "mean_out_of_memory": _mean(pairs, "out_of_memory"),
        "mean_seconds": _mean(pairs, "seconds"),
    }


def search(make_step: Callable[[int], Step], card: str) -> dict[str, object]:
    started = time.perf_counter()
    found = find_batch_size(f"{SOURCE}:{make_step.__name__}", card=card, max_size=BEYOND_ALL)
    pair: dict[str, object] = {
        "model": make_step.__name__,
        "card": card,
        "batch_size": found.batch_size,
        "predicted": found.predicted,
        "trials": len(found.trials),
        "out_of_memory": sum(not trial.fits for trial in found.trials),
        "seconds": round(time.perf_counter() - started, 1),
        "exact": _fits(make_step, found.batch_size, card) and not _fits(make_step, found.batch_size + 1, card),
    }
    print(pair, flush=True)
    return pair


def _fits(make_step: Callable[[int], Step], batch_size: int, card: str) -> bool:
    with virtual_gpu(card):
        try:
            step = make_step(batch_size)
            step()
            step()
        except torch.OutOfMemoryError:
            return False
        finally:
            gc.collect()
    return True


def _mean(pairs: list[dict[str, object]], name: str) -> float:
    return round(statistics.mean(float(str(pair[name])) for pair in pairs), 2)


if __name__ == "__main__":
    main()
