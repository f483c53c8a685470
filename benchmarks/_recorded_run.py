"""Repeats one recorded training run on the virtual card and prints what its allocator counted, step by step.

    python benchmarks/_recorded_run.py JOB

`JOB` is a JSON object made by `gpu_accuracy.py`. A process of its own for each run: models keep state in modules.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Sequence
from typing import Any

import torch

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

RESULT = "RESULT "


def main() -> None:
    job = json.loads(sys.argv[1])
    keep = declare_torchvision_operators()
    card = virtual_gpu(
        job["card"], capacity_bytes=job["capacity_bytes"], context_bytes=0, allocator_conf=job["allocator_conf"],
        cudnn_workspace="none")
    with card as gpu:
        if job["wants_events"]:
            gpu.record_requests()
        step = load(job["path"]).make(**job["arguments"])
        made = len(gpu.requests or ())
        counted = steps(gpu, step, job["steps"])
        print(RESULT + json.dumps({"steps": counted, "events": events(gpu.requests or (), made)}))
    del keep


def events(requests: Sequence[int], made: int) -> list[int]:
    """Bytes of every allocation after the first `made` requests, negative where it is freed."""
    sizes = [request for request in requests if request > 0]
    return [request if request > 0 else -sizes[-1 - request] for request in requests[made:] if request]


def steps(gpu: VirtualGPU, step: Any, count: int) -> list[dict[str, int | bool]]:
    """Peaks and end of each step; the run ends where the card is full."""
    counted: list[dict[str, int | bool]] = []
    for number in range(count):
        torch.cuda.reset_peak_memory_stats()
        try:
            step(number)
            is_full = False
        except torch.OutOfMemoryError:
            is_full = True
        counted.append({
            "max_allocated": gpu.max_allocated_bytes, "max_reserved": gpu.max_reserved_bytes,
            "end_allocated": gpu.allocated_bytes, "oom": is_full,
        })
        if is_full:
            break
    return counted


def load(path: str) -> types.ModuleType:
    """Import a script that has `make(**arguments) -> step(number)`."""
    spec = importlib.util.spec_from_file_location("recorded_script", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declare_torchvision_operators() -> Any:
    """torchvision's wheel is linked against CUDA: beside a CPU build of torch it needs two declarations to import."""
    if torch.version.cuda or hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


if __name__ == "__main__":
    main()
