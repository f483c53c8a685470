"""What a program asked of the allocator, asked again without it, gives the same counters and the same refusals."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import nn

from memdoctor.virtual import allocator_requests
from memdoctor.virtual.allocator import AllocatorOutOfMemory, Block, CachingAllocator
from memdoctor.virtual.allocator_requests import RecordingAllocator, replay
from memdoctor.virtual.gpu import virtual_gpu

MIB = 2**20


def counters(allocator: CachingAllocator) -> dict[str, int]:
    return {name: count for name, count in allocator.stats().items() if count}


def test_requests_are_written_down_in_their_order() -> None:
    """The second allocation is freed first; an allocation of nothing takes no index."""
    allocator = RecordingAllocator(64 * MIB)
    first, nothing, second = allocator.malloc(1000), allocator.malloc(0), allocator.malloc(2000)
    for block in (second, nothing, first):
        allocator.free(block)
    allocator.empty_cache()
    assert allocator.requests == [1000, 2000, -2, -1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_replay_ends_with_the_same_counters(seed: int) -> None:
    """On a card that is just large enough, so that caches are emptied and blocks are cut on the way."""
    random.seed(seed)
    allocator = RecordingAllocator(400 * MIB)
    blocks: list[Block] = []
    for _ in range(400):
        if blocks and random.random() < 0.5:
            allocator.free(blocks.pop(random.randrange(len(blocks))))
        else:
            blocks.append(allocator.malloc(random.choice((300, 70_000, 3 * MIB, random.randrange(1, 9 * MIB)))))
    assert allocator.requests is not None
    assert counters(replay(allocator.requests, 400 * MIB)) == counters(allocator)


def test_a_replay_of_real_training_peaks_where_the_training_did() -> None:
    with virtual_gpu("1GiB") as gpu:
        gpu.record_requests()
        model = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512)).to("cuda")
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(64, 512, device="cuda")).sum().backward()
            optimizer.step()
        torch.cuda.empty_cache()
        assert gpu.requests is not None and 0 in gpu.requests
        again = replay(gpu.requests, gpu.capacity_bytes)
        assert (again.max_allocated_bytes, again.max_reserved_bytes, again.allocated_bytes, again.reserved_bytes) == (
            gpu.max_allocated_bytes, gpu.max_reserved_bytes, gpu.allocated_bytes, gpu.reserved_bytes)
        assert gpu.max_allocated_bytes > 3 * 4 * 2 * 512 * 2048, "weights, gradients and the optimizer's state"


def test_a_card_too_small_by_a_page_refuses() -> None:
    """Two blocks of 30 MiB stay; the cache between them is of no use."""
    requests = [30 * MIB, 30 * MIB]
    assert replay(requests, 60 * MIB).allocated_bytes == 60 * MIB
    with pytest.raises(AllocatorOutOfMemory):
        replay(requests, 58 * MIB)


def test_fragmentation_refuses_what_would_fit_by_allocated_bytes() -> None:
    """A segment of 20 MiB is cut, and the 2 MiB that remain in it keep its other 18 MiB from the third request."""
    requests = [18 * MIB, -1, 2 * MIB, 20 * MIB]
    assert replay(requests, 40 * MIB).max_allocated_bytes == 22 * MIB
    with pytest.raises(AllocatorOutOfMemory):
        replay(requests, 36 * MIB)


def on_another_stream(allocator: RecordingAllocator) -> None:
    allocator.malloc(1000, stream=1)


def shared_between_streams(allocator: RecordingAllocator) -> None:
    allocator.record_stream(allocator.malloc(1000), 1)


def in_a_private_pool(allocator: RecordingAllocator) -> None:
    allocator.hold_pool("graph")
    allocator.open_pool("graph")


@pytest.mark.parametrize("act", [on_another_stream, shared_between_streams, in_a_private_pool])
def test_what_the_ints_cannot_say_ends_the_recording(act: Callable[[RecordingAllocator], None]) -> None:
    allocator = RecordingAllocator(64 * MIB)
    act(allocator)
    allocator.malloc(1000)
    assert allocator.requests is None


def test_a_recording_ends_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator_requests, "LONGEST", 2)
    allocator = RecordingAllocator(64 * MIB)
    allocator.malloc(1), allocator.malloc(1)
    assert allocator.requests == [1, 1]
    allocator.malloc(1)
    assert allocator.requests is None


def test_a_program_that_limits_its_memory_has_no_recording() -> None:
    """The limit is not among the requests, and a replay would promise too much."""
    with virtual_gpu("1GiB") as gpu:
        gpu.record_requests()
        torch.cuda.set_per_process_memory_fraction(0.5)
        assert gpu.requests is None
