"""The same answers on a real card as on a virtual one."""

from __future__ import annotations

import pytest
import torch

import memdoctor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a real NVIDIA card"),
]


def train(steps: int, kept: list[torch.Tensor] | None) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        batch = torch.randn(256, 512, device="cuda")
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        if kept is not None:
            kept.append(model(batch).mean())


def test_counters_are_those_of_torch() -> None:
    with memdoctor.profile() as prof:
        train(5, None)
        allocated_bytes, reserved_bytes = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    last = prof.report.timeline.readings[-1]
    assert abs(last.allocated_bytes - allocated_bytes) < 2**20 and last.reserved_bytes == reserved_bytes


def test_the_users_peak_counter_is_not_reset() -> None:
    torch.empty(2**28, device="cuda")
    before = torch.cuda.max_memory_allocated()
    with memdoctor.profile() as prof:
        train(5, None)
    assert torch.cuda.max_memory_allocated() == before
    assert prof.report.timeline.peak_allocated_bytes < before


def test_a_leak_is_named() -> None:
    kept: list[torch.Tensor] = []
    with memdoctor.profile() as prof:
        train(40, kept)
    assert prof.report.growth.verdict == "leak"
    assert [finding.variable for finding in prof.report.findings] == ["kept"]


def test_a_clean_loop_has_no_leak() -> None:
    with memdoctor.profile() as prof:
        train(40, None)
    assert prof.report.growth.verdict == "none"
