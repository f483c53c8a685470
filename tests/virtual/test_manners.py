"""What a run on the card leaves behind: nothing; and many steps take no more of memdoctor's memory than few."""

from __future__ import annotations

import gc
import importlib
import threading

import pytest
import torch
from torch import nn

from memdoctor.virtual import recorder, signatures
from memdoctor.virtual.gpu import virtual_gpu

OWNERS = (
    torch.UntypedStorage, torch.Tensor, torch._C._nn, torch.nn.Module, torch.backends.cuda, torch.cuda.nvtx,
    torch.cuda.profiler, importlib.import_module("torch.nn.parallel._functions"), torch.distributions.Distribution,
    *([importlib.import_module("torch.distributed.distributed_c10d")] if torch.distributed.is_available() else []),
)
NAMES = ("device", "Generator", "compile", "set_default_tensor_type", "set_autocast_enabled", "clear_autocast_cache")


def names() -> list[object]:
    return [*(dict(vars(owner)) for owner in OWNERS), *(getattr(torch, name) for name in NAMES)]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, rows: int = 4) -> None:
    optimizer.zero_grad()
    model(torch.randn(rows, 8, device="cuda")).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("values", ["zeros", "real"])
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_every_name_is_back(error: type[BaseException] | None, values: str) -> None:
    before = names()
    try:
        with virtual_gpu(values=values):
            assert names() != before
            step(model := nn.Linear(8, 8).cuda(), torch.optim.SGD(model.parameters(), lr=0.1))
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as raised:
        assert type(raised) is error
    assert names() == before


def test_threads_share_the_card() -> None:
    found = []

    def train() -> None:
        model = nn.Linear(8, 8).cuda()
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(3):
            step(model, optimizer)
        found.append(model.weight.grad.is_cuda)

    with virtual_gpu("24GiB") as gpu:
        threads = [threading.Thread(target=train) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del thread, threads
        held = sum(block.size_bytes for block in gpu._ledgers[0]._held.values())
        assert found == [True, True] and gpu.allocated_bytes == held


def test_many_steps_take_no_more_memory_than_few() -> None:
    """Objects of Python, and signatures; the numbers that the optimizer passes are others at each step."""
    def kept() -> tuple[int, int]:
        gc.collect()
        return len(gc.get_objects()), len(recorder._RESULTS) + len(recorder._CHECKED)

    with virtual_gpu("24GiB"):
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)).cuda()
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(20):
            step(model, optimizer)
        objects, signatures_before = kept()
        for _ in range(100):
            step(model, optimizer)
        objects_after, signatures_after = kept()
    assert signatures_after == signatures_before
    assert abs(objects_after - objects) < 50


def test_shapes_that_never_come_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = signatures.Memory()
    monkeypatch.setattr(signatures, "_MOST_SIGNATURES", 10)
    for number in range(1000):
        memory.keep((number,), True)
    assert 0 < len(memory) <= 10 and (999,) in memory
