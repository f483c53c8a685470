"""Which families of real packages train on the virtual card, unmodified: each builds a small model and takes a step.

    python benchmarks/real_packages.py [NAME ...]

A name, or the beginning of one, chooses families (`timm`, `torchvision.maskrcnn`). timm takes one model of each of its
modules, in float32 and then in bfloat16 channels-last. Needs timm, torchvision, transformers and the packages of
`_real_libraries.py`; a package that is missing counts as failed. Figures: seconds of the clock, and the error where one
was raised.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator

from _real_libraries import LIBRARIES
from _real_models import timm_families, torchvision_families, transformers_families
from _results import version, write

import memdoctor

CARD = "a100-80gb"
PACKAGES = ("timm", "torchvision", "transformers", "peft", "accelerate", "diffusers", "torch_geometric", "lightning")

Family = tuple[str, Callable[[], None]]


def families() -> Iterator[Family]:
    yield from LIBRARIES.items()
    yield from torchvision_families()
    yield from transformers_families()
    yield from timm_families()


def ran(step: Callable[[], None]) -> dict[str, object]:
    started = time.perf_counter()
    try:
        with memdoctor.virtual_gpu(CARD) as gpu:
            step()
            peak = gpu.max_allocated_bytes
    except Exception as error:  # what a family raises is its result
        return {"ran": False, "error": f"{type(error).__name__}: {error}"[:300]}
    return {"ran": True, "seconds": round(time.perf_counter() - started, 1), "peak_allocated_bytes": peak}


def main(chosen: list[str]) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    everything = list(families())
    rows: dict[str, dict[str, object]] = {}
    for name, step in everything:
        if not chosen or name.startswith(tuple(chosen)):
            rows[name] = ran(step)
            print(name, rows[name], flush=True)
            if not chosen:
                keep(len(everything), rows)


def keep(families_known: int, rows: dict[str, dict[str, object]]) -> None:
    """After each family: the whole takes long, and what has run has run."""
    failed = [name for name, row in rows.items() if not row["ran"]]
    write("real_packages", {
        "card": CARD, "families_known": families_known, "families_tried": len(rows),
        "families_ran": len(rows) - len(failed), "failed": failed, "rows": rows,
        "packages": {name: version(name) for name in PACKAGES},
    })


if __name__ == "__main__":
    main(sys.argv[1:])
