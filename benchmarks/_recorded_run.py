"""Repeats one recorded training run on the virtual card: what its allocator counted, step by step."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


def answer(job: dict[str, Any], sender: Connection) -> None:
    """Send what `repeated` returns, or the last line of its failure."""
    try:
        sender.send(repeated(job))
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}".strip().splitlines()[-1][:200])


def repeated(job: dict[str, Any]) -> dict[str, Any]:
    """`job` is made by `gpu_accuracy.py`; returns the counters of each step, and events where they are wanted."""
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
        found = events(gpu.requests or (), made)
    del keep
    return {"steps": counted, "events": found}


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
