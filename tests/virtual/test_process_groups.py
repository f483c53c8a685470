"""Process groups of one process: what `DistributedDataParallel` and collectives take on the card."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import distributed, nn

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="this PyTorch has no torch.distributed")
BLOCKS = 360_448 + 1_536
"""Weights and biases of `Linear(300, 300)` in allocator blocks of 512 bytes."""
BUCKET = 361_472
"""Both in one buffer: 361,200 bytes in blocks."""


@pytest.fixture(autouse=True)
def exception_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch puts one of its own in place with each process group."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


@pytest.fixture(params=["nccl", "gloo"])
def group(gpu: VirtualGPU, request):
    distributed.init_process_group(request.param, store=distributed.HashStore(), rank=0, world_size=1)
    yield request.param
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:Time stats are currently only collected")
@pytest.mark.parametrize(("is_view", "gradient_bytes"), [(False, BLOCKS), (True, 0)], ids=["copies", "views"])
def test_gradients_are_copied_into_buckets_unless_they_are_views_of_them(
    gpu: VirtualGPU, group, is_view: bool, gradient_bytes: int
) -> None:
    module = nn.Linear(300, 300).cuda()
    without = gpu.allocated_bytes
    model = nn.parallel.DistributedDataParallel(module, device_ids=[0], gradient_as_bucket_view=is_view)
    assert gpu.allocated_bytes - without == BUCKET
    data = torch.zeros(2, 300, device="cuda")
    loss = model(data).sum()
    before = gpu.allocated_bytes
    loss.backward()
    workspaces = sum(block.size_bytes for block in gpu._ledgers[0]._held.values())
    del loss, data
    assert gpu.allocated_bytes == without + BUCKET + gradient_bytes + workspaces
    assert before < gpu.allocated_bytes and distributed.get_backend() == group


def test_collectives_fill_their_outputs_with_what_this_process_holds(gpu: VirtualGPU, group) -> None:
    """On the host, where values can be seen."""
    mine, gathered, scattered = torch.arange(3.0), [torch.zeros(3)], torch.zeros(3)
    distributed.all_reduce(mine)
    distributed.broadcast(mine, 0)
    distributed.all_gather(gathered, mine)
    distributed.reduce_scatter(scattered, [mine])
    distributed.barrier()
    assert mine.tolist() == gathered[0].tolist() == scattered.tolist() == [0, 1, 2]


def test_objects_come_back_from_collectives(gpu: VirtualGPU, group) -> None:
    found = [None]
    distributed.all_gather_object(found, {"rank": distributed.get_rank()})
    assert found == [{"rank": 0}]


def test_every_rank_of_a_larger_group_is_taken_to_hold_the_same(gpu: VirtualGPU) -> None:
    distributed.init_process_group("nccl", store=distributed.HashStore(), rank=1, world_size=4)
    try:
        parts = [torch.zeros(2, device="cuda") for _ in range(4)]
        before = gpu.allocated_bytes
        distributed.all_gather(parts, torch.ones(2, device="cuda"))
        assert gpu.allocated_bytes == before
        assert (distributed.get_rank(), distributed.get_world_size()) == (1, 4)
    finally:
        distributed.destroy_process_group()


def test_batch_norm_across_processes_trains(gpu: VirtualGPU, group) -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))).cuda()
    model(torch.zeros(4, 3, device="cuda")).sum().backward()
    assert model[0].weight.grad.is_cuda
