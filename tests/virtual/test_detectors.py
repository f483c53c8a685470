"""Boxes that a detector samples: as many as its sampler may take, not every proposal."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from memdoctor.virtual.gpu import virtual_gpu

HEADS = '''
import torch


class Sampler:
    batch_size_per_image, positive_fraction = 512, 0.25

    def __call__(self, labels):
        masks = []
        for one in labels:
            positive, negative = torch.where(one >= 1)[0], torch.where(one == 0)[0]
            count = min(len(positive), 128)
            mask = torch.zeros_like(one, dtype=torch.uint8)
            mask[positive[torch.randperm(len(positive), device=one.device)[:count]]] = 1
            mask[negative[torch.randperm(len(negative), device=one.device)[:512 - count]]] = 1
            masks.append(mask)
        return masks


class Heads:
    fg_bg_sampler = Sampler()

    def subsample(self, labels):
        chosen = []
        for mask in self.fg_bg_sampler(labels):
            chosen.append(torch.where(mask)[0])
        return chosen

    def forward(self, labels):
        chosen = self.subsample(labels)
        labels, positive = [one[rows] for one, rows in zip(labels, chosen)], []
        for one in labels:
            positive.append(len(torch.where(one > 0)[0]))
        return [len(rows) for rows in chosen], positive, fastrcnn_loss(labels)


def fastrcnn_loss(labels):
    return len(torch.where(torch.cat(labels) > 0)[0])
'''


@pytest.fixture
def make_heads(tmp_path: Path):
    def make(folder: str) -> ModuleType:
        path = tmp_path / folder / "roi_heads.py"
        path.parent.mkdir(parents=True)
        path.write_text(HEADS, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("heads", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Heads()
    return make


def labels(*counts: int) -> list[torch.Tensor]:
    """Nobody knows what came out of a matching of boxes."""
    return [torch.randn(count, device="cuda").long() for count in counts]


def test_torchvisions_sampler_is_believed(make_heads) -> None:
    heads = make_heads("torchvision/models/detection")
    with virtual_gpu("a100-80gb"):
        assert heads.forward(labels(2001, 2001)) == ([512, 512], [128, 128], 256)


def test_fewer_proposals_than_it_may_take(make_heads) -> None:
    heads = make_heads("torchvision/models/detection")
    with virtual_gpu("a100-80gb"):
        assert heads.forward(labels(100)) == ([100], [100], 100)


def test_other_files_of_that_name_choose_every_row(make_heads) -> None:
    heads = make_heads("mine")
    with virtual_gpu("a100-80gb"):
        assert heads.forward(labels(2001)) == ([2001], [2001], 2001)


def test_with_real_values_the_rows_are_those_that_are_there(make_heads) -> None:
    heads = make_heads("torchvision/models/detection")
    with virtual_gpu("a100-80gb", values="real"):
        assert heads.forward([torch.ones(40, dtype=torch.int64, device="cuda")]) == ([40], [40], 40)
