"""One training loop under one tool, which runs as many steps as it is told to on standard input.

Its answer is a line of JSON: processor and wall seconds of those steps, and what the tool's own hooks took of each.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

BATCH_SIZE = 128

Tool = contextlib.AbstractContextManager[Any]


def small_network() -> tuple[nn.Module, torch.Tensor]:
    """Convolutions that take some 20 ms a step on an idle core; 10 modules."""
    layers = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(32 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers, *head), torch.randn(BATCH_SIZE, 1, 16, 16)


def thousand_modules() -> tuple[nn.Module, torch.Tensor]:
    """Little to compute in each of very many modules, as where a fast card waits for Python."""
    blocks = (nn.Sequential(nn.Linear(10, 10), nn.Identity(), nn.Identity()) for _ in range(250))
    return nn.Sequential(*blocks), torch.randn(BATCH_SIZE, 10)


NETWORKS = {"small network": small_network, "1,000 modules": thousand_modules}


def training(network: str) -> Callable[[], None]:
    """One step with AdamW."""
    torch.manual_seed(0)
    model, images = NETWORKS[network]()
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters())
    labels = torch.randint(10, (BATCH_SIZE,))

    def step() -> None:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()

    return step


def memdoctor_profile() -> Tool:
    import memdoctor

    return memdoctor.profile()


@contextlib.contextmanager
def memdoctor_beside_a_card() -> Iterator[Any]:
    """The tensors stay on the CPU, but the counters that are read are made as a real card's are."""
    figures = [dict.fromkeys(("all", "small_pool", "large_pool"), 0) for _ in range(9)]
    names = (
        "allocation", "segment", "active", "inactive_split", "allocated_bytes", "reserved_bytes", "active_bytes",
        "inactive_split_bytes", "requested_bytes",
    )

    def stats(device: int) -> dict[str, Any]:
        one = {"current": 2**20, "peak": 2**20, "allocated": 2**30, "freed": 2**29}
        return {name: {pool: dict(one) for pool in pools} for name, pools in zip(names, figures)}

    replaced: dict[str, Any] = {
        "is_initialized": lambda: True, "current_device": lambda: 0, "memory_stats_as_nested_dict": stats,
        "memory_stats": lambda device=None: {}, "mem_get_info": lambda device=None: (2**33, 2**34),
        "memory_reserved": lambda device=None: 2**21, "get_device_name": lambda device=None: "stand-in",
        "get_device_properties": lambda device=None: None,
    }
    before = {name: getattr(torch.cuda, name) for name in replaced}
    vars(torch.cuda).update(replaced)
    try:
        with memdoctor_profile() as prof:
            yield prof
    finally:
        vars(torch.cuda).update(before)


def torch_profiler() -> Tool:
    return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)


def mem_tracker() -> Tool:
    from torch.distributed._tools.mem_tracker import MemTracker

    return MemTracker()


def memlab_line_profiler() -> Tool:
    """It traces the lines of functions that it is told of: here, of the whole step."""
    from pytorch_memlab import LineProfiler

    tracer: Tool = LineProfiler(nn.Sequential.forward, torch.optim.AdamW.step, training)
    return tracer


@contextlib.contextmanager
def recorded_history() -> Iterator[None]:
    """Needs a card."""
    torch.cuda.memory._record_memory_history()
    try:
        yield
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)


TOOLS: dict[str, Callable[[], Tool]] = {
    "plain": contextlib.nullcontext,
    "memdoctor": memdoctor_profile,
    "memdoctor, counters of a card": memdoctor_beside_a_card,
    "torch.profiler(profile_memory)": torch_profiler,
    "MemTracker": mem_tracker,
    "pytorch_memlab": memlab_line_profiler,
    "_record_memory_history": recorded_history,
}


def clock_hooks() -> list[float]:
    """Microseconds that memdoctor's hooks take, one after the other, from now on; not the finding of a call's end."""
    from memdoctor.sensing.recorder import Recorder

    clocked: list[float] = []

    def timed(inner: Callable[..., Any]) -> Callable[..., Any]:
        def hook(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*args)
            finally:
                clocked.append(1e6 * (time.perf_counter() - began))

        return hook

    for name in ("_before_call", "_after_call", "_after_optimizer_step"):
        setattr(Recorder, name, timed(getattr(Recorder, name)))
    return clocked


def main() -> None:
    tool_name, network = sys.argv[1:3]
    torch.set_num_threads(1)
    clocked = clock_hooks() if "clocked" in sys.argv else []
    step = training(network)
    with TOOLS[tool_name]() as tool:
        each_step = getattr(tool, "reset_mod_stats", lambda: None)  # MemTracker wants it between iterations
        for line in sys.stdin:
            step()  # not on the clock: what had become due while this process slept, such as a look at the process tree
            each_step()
            clocked.clear()
            hooks = []
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(int(line)):
                step()
                each_step()
                hooks.append(sum(clocked))
                clocked.clear()
            processor, wall = time.process_time() - processor, time.perf_counter() - wall
            print(json.dumps({"processor": processor, "wall": wall, "hooks": hooks}), flush=True)


if __name__ == "__main__":
    main()
