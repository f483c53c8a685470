"""Data parallel training in a process of its own: buckets of gradients, and state that is divided up."""

from __future__ import annotations

import tempfile

import torch
from torch import nn
from torch.nn import functional

from .training import Step


def _network() -> nn.Module:
    inner = [part for _ in range(6) for part in (nn.Linear(1024, 1024), nn.ReLU())]
    return nn.Sequential(*inner, nn.Linear(1024, 10)).cuda()


def _loss(model: nn.Module) -> torch.Tensor:
    features, labels = torch.randn(256, 1024, device="cuda"), torch.randint(0, 10, (256,), device="cuda")
    return functional.cross_entropy(model(features), labels)


def _join() -> None:
    if not torch.distributed.is_initialized():
        store = torch.distributed.FileStore(tempfile.mkstemp()[1], 1)
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)


def _parallel(**options: object) -> Step:
    _join()
    model = nn.parallel.DistributedDataParallel(_network(), device_ids=[0], **options)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step() -> None:
        _loss(model).backward()
        optimizer.step()
        optimizer.zero_grad()
    return step


def gradients_in_buckets() -> Step:
    return _parallel()


def gradients_are_views_of_buckets() -> Step:
    return _parallel(gradient_as_bucket_view=True)


PROGRAMS = (gradients_in_buckets, gradients_are_views_of_buckets)
