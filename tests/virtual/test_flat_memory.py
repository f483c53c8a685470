"""A long run takes no more of the host's memory than a short one."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from memdoctor import virtual_gpu

STEPS = 30


def test_steps_leave_no_object_behind() -> None:
    """Learning rate, data and the losses that are read differ at each step; the shapes do not."""
    with virtual_gpu("24GiB"):
        step = _training()
        _objects_after(step)
        first, second = _objects_after(step), _objects_after(step)
    assert second - first < STEPS // 2


def _training() -> Callable[[], None]:
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999)

    def step() -> None:
        inputs, labels = torch.randn(8, 16).cuda(), torch.randint(4, (8,)).cuda()
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        loss.item()

    return step


def _objects_after(step: Callable[[], None]) -> int:
    for _ in range(STEPS):
        step()
    gc.collect()
    return len(gc.get_objects())
