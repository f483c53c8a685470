"""The largest batch of timm's models on a virtual RTX 3090 beside what timm's authors measured on a real one.

    pip install timm
    python benchmarks/timm_max_batch.py benchmark-train-amp-nchw-pt112-cu113-rtx3090.csv [--every 10]

The table is of timm's repository, folder `results`, with columns `model`, `train_batch_size` and `train_img_size`.
There a batch size was lowered rung by rung until training in mixed precision ran; the same step is run here on the same
rungs, by PyTorch 1.12's habits: attention in the open, gradients set to zero and kept, no foreach. The sample is every
tenth row. A table with `nhwc` in its name was measured in channels-last format.
"""

from __future__ import annotations

import argparse
import csv
import gc
import statistics
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from _recorded_run import declare_torchvision_operators
from _results import version, write

from memdoctor.foundation.units import MIB
from memdoctor.virtual.gpu import virtual_gpu

_declared = declare_torchvision_operators()

import timm  # noqa: E402  # needs the declarations beside a CPU build of torch

RUNGS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Powers of two and one step between, up to the size that was tried first."""
CONTEXT_BYTES = 1_001 * MIB
"""Of an RTX 3090 before kernels were loaded lazily (pytorch/pytorch#54564)."""
STEPS = 2

Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("table", type=Path)
    parser.add_argument("--every", type=int, default=10, metavar="N", help="take one row of so many")
    options = parser.parse_args()
    with options.table.open(encoding="utf-8") as file:
        measured = list(csv.DictReader(file))[::options.every]
    channels_last = "nhwc" in options.table.name
    timm.layers.set_fused_attn(False)
    known = [row for row in measured if timm.is_model(row["model"])]
    models = [compare(row, channels_last) for row in known]
    layout = "nhwc" if channels_last else "nchw"
    print(write(f"timm_max_batch_{layout}", {
        "sample": f"every {options.every}th row: {len(measured)}",
        "not_in_this_timm": [row["model"] for row in measured if row not in known],
        "timm": version("timm"),
        **{assumed: summary(models, assumed) for assumed in (f"workspace_{workspace}" for workspace in workspaces())},
        "models": models,
    }))


def workspaces() -> tuple[str, ...]:
    """What the virtual card can be asked to assume about cuDNN's workspaces."""
    return typing.get_args(typing.get_type_hints(virtual_gpu)["cudnn_workspace"])


def compare(row: Mapping[str, str], channels_last: bool) -> dict[str, Any]:
    """The measured rung and, for each assumption about workspaces, the virtual one; 0 where no rung fits."""
    measured = int(row["train_batch_size"])
    found: dict[str, Any] = {"model": row["model"], "measured": measured}
    for workspace in workspaces():
        def fits(batch_size: int, workspace: str = workspace) -> bool:
            return _fits(row["model"], batch_size, int(row["train_img_size"]), channels_last, workspace)
        found[f"workspace_{workspace}"] = _highest(fits, RUNGS.index(measured))
    print(found, flush=True)
    return found


def summary(models: Sequence[dict[str, Any]], assumed: str) -> dict[str, object]:
    """How far the virtual rung is above the measured one; at the top rung it could not be."""
    apart = [RUNGS.index(model[assumed]) - RUNGS.index(model["measured"]) for model in models if model[assumed]]
    lower = [model for model in models if model["measured"] < RUNGS[-1]]
    same_of_lower = sum(model[assumed] == model["measured"] for model in lower)
    return {
        "models": len(models),
        "same_rung_percent": round(100 * sum(distance == 0 for distance in apart) / len(models), 1),
        "same_rung_percent_below_the_top": round(100 * same_of_lower / len(lower), 1),
        "within_one_rung_percent": round(100 * sum(abs(distance) <= 1 for distance in apart) / len(models), 1),
        "mean_rungs_too_high": round(statistics.mean(apart), 2),
    }


def _highest(fits: Callable[[int], bool], start: int) -> int:
    """From the measured rung up or down, which are two runs where it is right."""
    if fits(RUNGS[start]):
        higher = (rung for rung in range(start + 1, len(RUNGS)) if not fits(RUNGS[rung]))
        return RUNGS[next(higher, len(RUNGS)) - 1]
    return next((RUNGS[rung] for rung in range(start - 1, -1, -1) if fits(RUNGS[rung])), 0)


def _fits(model: str, batch_size: int, pixels: int, channels_last: bool, workspace: Any) -> bool:
    with virtual_gpu("rtx3090", context_bytes=CONTEXT_BYTES, cudnn_workspace=workspace):
        try:
            step = _step(model, batch_size, pixels, torch.channels_last if channels_last else torch.contiguous_format)
            for _ in range(STEPS):
                step()
        except torch.OutOfMemoryError:
            return False
        finally:
            gc.collect()
    return True


def _step(name: str, batch_size: int, pixels: int, layout: torch.memory_format) -> Step:
    """As timm's `benchmark.py` trains."""
    with torch.device("cuda"):
        model = timm.create_model(name, **_sized(name, pixels)).to(memory_format=layout)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, foreach=False)
    images = torch.randn(batch_size, 3, pixels, pixels, device="cuda").contiguous(memory_format=layout)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        with torch.autocast("cuda", torch.float16):
            logits = model(images)
            target = torch.empty(batch_size, device="cuda", dtype=torch.long).random_(model.num_classes)
            criterion(logits[0] if isinstance(logits, tuple) else logits, target).backward()
        optimizer.step()

    return step


def _sized(name: str, pixels: int) -> dict[str, int]:
    """Only models whose shape follows the picture need to be told, and others refuse it."""
    usual = timm.get_pretrained_cfg(name)
    return {} if usual is None or usual.input_size[-1] == pixels or not usual.fixed_input_size else {"img_size": pixels}


if __name__ == "__main__":
    main()
