"""What a read of the card answers: exact where the contents follow from the host, else the stated policy."""

from __future__ import annotations

import linecache

import pytest
import torch
from torchvision_operators import define_operators

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


KNOWN = {
    "copied from the host": (lambda: torch.tensor([3, 5, 1]).cuda(), [3, 5, 1]),
    "made there": (lambda: torch.arange(4, device="cuda"), [0, 1, 2, 3]),
    "computed": (lambda: torch.tensor([3, 5], device="cuda") * 2 + 1, [7, 11]),
    "compared": (lambda: torch.tensor([3, 5], device="cuda") > 4, [False, True]),
    "view": (lambda: torch.arange(6, device="cuda").view(2, 3)[:, 1], [1, 4]),
    "masked": (lambda: torch.arange(3, device="cuda")[torch.tensor([True, False, True], device="cuda")], [0, 2]),
    "nonzero": (lambda: torch.tensor([0, 4, 2], device="cuda").nonzero().flatten(), [1, 2]),
    "unique": (lambda: torch.tensor([4, 1, 4], device="cuda").unique(), [1, 4]),
    "single float": (lambda: torch.full((), 0.5, device="cuda") * 3, 1.5),
    "joined": (lambda: torch.cat([torch.tensor([1]).cuda(), torch.tensor([2]).cuda()]), [1, 2]),
}


@pytest.mark.parametrize(("make", "expected"), KNOWN.values(), ids=KNOWN.keys())
def test_contents_that_come_from_the_host_are_exact(gpu: VirtualGPU, make, expected) -> None:
    assert make().tolist() == expected
    assert gpu.value_reads == ()


def test_writes_are_followed_through_views(gpu: VirtualGPU) -> None:
    counts = torch.zeros(3, dtype=torch.int64, device="cuda")
    counts[1:] += 4
    counts[0] = 9
    assert counts.tolist() == [9, 4, 4]


def test_a_filled_tensor_is_known_whatever_it_was(gpu: VirtualGPU) -> None:
    counts = torch.randint(0, 5, (3,), device="cuda")
    counts.fill_(2)
    counts.add_(1)
    assert counts.tolist() == [3, 3, 3]


def test_an_unknown_value_written_to_a_view_makes_the_whole_unknown(gpu: VirtualGPU) -> None:
    counts = torch.ones(3, dtype=torch.int64, device="cuda")
    counts[0] = torch.randint(0, 9, (), device="cuda")
    assert counts.tolist() == [0, 0, 0]


POLICY = {
    "loss": (lambda x: x.mean().item(), 1.0),
    "count": (lambda x: (x > 0).sum().item(), 0),
    "condition": (lambda x: bool(x[0, 0] > 0), False),
    "curvature of LBFGS": (lambda x: bool(x.sum() > 1e-10), True),
    "finite": (lambda x: torch.isfinite(x).all().item(), True),
    "nan": (lambda x: torch.isnan(x).any().item(), False),
    "finite loss": (lambda x: bool(torch.isfinite(x.mean())), True),
    "infinite loss": (lambda x: bool(torch.isinf(x.mean())), False),
    "to the host": (lambda x: x.cpu().tolist(), [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]),
    "copy to the host": (lambda x: torch.ones(3, 2).copy_(x).sum().item(), 0.0),
    "mask": (lambda x: tuple(x[x > 0].shape), (6,)),
    "masked_select": (lambda x: tuple(x.masked_select(x > 0).shape), (6,)),
    "nonzero": (lambda x: tuple(x.nonzero().shape), (6, 2)),
    "unique": (lambda x: tuple(x.unique().shape), (6,)),
    "bincount": (lambda x: tuple(x.long().flatten().bincount(minlength=5).shape), (5,)),
    "equal": (lambda x: torch.equal(x, x + 1), True),
    "formatted": (lambda x: f"{x.mean():.2f}", "1.00"),
}


@pytest.mark.parametrize(("read", "expected"), POLICY.values(), ids=POLICY.keys())
def test_unknown_values_follow_the_policy_and_are_noted(gpu: VirtualGPU, read, expected) -> None:
    assert read(torch.randn(3, 2, device="cuda")) == expected
    assert gpu.value_reads


def test_a_read_is_noted_once_with_the_line_that_asked(gpu: VirtualGPU) -> None:
    x = torch.randn(3, device="cuda")
    for _ in range(3):
        x.sum().item()
    (read,) = gpu.value_reads
    assert (read.what, read.path) == ("item", __file__)
    assert "x.sum().item()" in linecache.getline(__file__, read.line)


def test_printing_shows_the_card(gpu: VirtualGPU) -> None:
    assert repr(torch.arange(2, device="cuda")) == "tensor([0, 1], device='cuda:0')"
    assert repr(torch.zeros((), dtype=torch.half, device="cuda")) == "tensor(0., device='cuda:0', dtype=torch.float16)"


def test_of_boxes_none_is_suppressed_unless_they_are_known(gpu: VirtualGPU) -> None:
    define_operators()
    boxes, scores = torch.rand(5, 4, device="cuda"), torch.rand(5, device="cuda")
    kept = torch.ops.torchvision.nms(boxes, scores, 0.5)
    assert kept.is_cuda and kept.dtype is torch.int64 and kept.shape == (5,)
    assert [read.what for read in gpu.value_reads] == ["nms"]
