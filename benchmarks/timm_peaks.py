"""Peaks of timm models on the virtual A100, beside what nvidia-smi showed on a real one.

    python benchmarks/timm_peaks.py MEASURED.csv [--every 10] [--workspace none]

`MEASURED.csv` has `model`, `batch` and `max_gpu_mib`: float32 training of 494 models with SGD. Needs timm. Every
`--every`-th model is repeated at all its batch sizes. Of these, the models at even places are the half that the model
of cuDNN's workspace and `CONTEXT_BYTES` were fitted to; those at odd places are the check. A row that does not fit the
virtual card counts as 100 % off.
"""

from __future__ import annotations

import argparse
import collections
import csv
import gc
import statistics
import sys
from pathlib import Path
from typing import Any

from _recorded_run import declare_torchvision_operators
from _results import write

_declared = declare_torchvision_operators()

import timm  # noqa: E402  # needs the declarations beside a CPU build of torch
import torch  # noqa: E402

from memdoctor.foundation.units import MIB  # noqa: E402
from memdoctor.virtual.gpu import virtual_gpu  # noqa: E402

CONTEXT_BYTES = 1740 * MIB
"""What nvidia-smi showed beyond PyTorch's reserved memory, fitted to the nearest 20 MiB: context and libraries."""
FIRST_MODEL = 3
STEPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare peaks of timm models with nvidia-smi's.")
    parser.add_argument("measured", type=Path)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--workspace", choices=("model", "none"), default="model", help="what cuDNN is taken to need")
    options = parser.parse_args()
    sys.setrecursionlimit(100_000)
    by_model: dict[str, list[tuple[int, float]]] = collections.defaultdict(list)
    for row in csv.DictReader(options.measured.open(encoding="utf-8")):
        by_model[row["model"]].append((int(float(row["batch"])), float(row["max_gpu_mib"]) * MIB))
    models = list(by_model)[FIRST_MODEL::options.every]
    print(write("timm_peaks", {
        "sample": f"every {options.every}th of {len(by_model)} models",
        "context_mib": CONTEXT_BYTES // MIB,
        "workspace": options.workspace,
        **compared(models, by_model, options.workspace),
    }))


def compared(models: list[str], by_model: dict[str, list[tuple[int, float]]], workspace: Any) -> dict[str, object]:
    errors = {
        (name, batch): relative_error(name, batch, nbytes, workspace)
        for name in models for batch, nbytes in by_model[name]
    }
    halves = {"fitted": models[::2], "checked": models[1::2]}
    worst = sorted(errors.items(), key=lambda item: -abs(item[1]))[:5]
    return {
        **{half: distribution([error for (name, _), error in errors.items() if name in chosen])
           for half, chosen in halves.items()},
        "worst": {f"{name}, batch {batch}": round(error, 3) for (name, batch), error in worst},
    }


def relative_error(name: str, batch: int, measured_bytes: float, workspace: Any) -> float:
    """Of the peak; negative where the virtual card says too little."""
    with virtual_gpu("a100-40gb", context_bytes=CONTEXT_BYTES, cudnn_workspace=workspace) as gpu:
        try:
            train(name, batch)
            error = (gpu.max_reserved_bytes + CONTEXT_BYTES) / measured_bytes - 1
        except torch.OutOfMemoryError:
            error = 1.0
        finally:
            gc.collect()
    print(f"{name:40} {batch:4} {workspace:6} {error:+.1%}", flush=True)
    return error


def train(name: str, batch: int) -> None:
    with torch.device("cuda"):
        model = timm.create_model(name)
    shape = model.pretrained_cfg.get("input_size", (3, 224, 224))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        scores = model(torch.randn(batch, *shape).cuda())
        loss = torch.nn.functional.cross_entropy(scores, torch.randint(0, 1000, (batch,)).cuda())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def distribution(errors: list[float]) -> dict[str, object]:
    sizes = sorted(abs(error) for error in errors)
    return {
        "rows": len(sizes),
        "median": round(statistics.median(sizes), 4),
        "p90": round(sizes[int(0.9 * (len(sizes) - 1))], 4),
        "too_low": round(sum(error < 0 for error in errors) / len(errors), 3),
    }


if __name__ == "__main__":
    main()
