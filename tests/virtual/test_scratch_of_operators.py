"""Peaks of single operators; expected bytes are those recorded from PyTorch 2.12.1's CUDA build, as blocks of 512."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from memdoctor.virtual.gpu import virtual_gpu


def blocks(*sizes: int) -> int:
    return sum(-(-size // 512) * 512 for size in sizes)


def peak_of(run: Callable[..., object], *operands: torch.Tensor) -> int:
    """Bytes on top of what was there, on a card whose allocator never leaves a block larger than asked for."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run(*operands)
    return torch.cuda.max_memory_allocated() - before


@pytest.fixture(autouse=True)
def card():
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0):
        yield


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cuda")


def indices(*shape: int) -> torch.Tensor:
    return torch.randint(0, 8, shape, device="cuda")


CASES = {
    "indices that broadcast differently are copied": (
        lambda: peak_of(lambda x, i, j: x[i, j], floats(1000, 50), indices(64, 1), indices(1, 64)),
        blocks(32_768, 32_768, 16_384)),
    "indices of one shape are not": (
        lambda: peak_of(lambda x, i, j: x[i, j], floats(1000, 50), indices(64), indices(64)), blocks(256)),
    "sum over indices sorts them": (
        lambda: peak_of(
            lambda x, i, y: torch.ops.aten.index_put(x, [i], y, True), floats(1000, 8), indices(5000), floats(5000, 8)),
        blocks(32_000, 40_000, 40_000, 40_000, 40_000, 87_039)),
    "writing by index does not": (
        lambda: peak_of(
            lambda x, i, y: torch.ops.aten.index_put(x, [i], y), floats(1000, 8), indices(5000), floats(5000, 8)),
        blocks(32_000)),
    "mean by index counts": (
        lambda: peak_of(
            lambda x, i, y: x.scatter_reduce(0, i, y, "mean"), floats(1000, 50), indices(4000, 50), floats(4000, 50)),
        blocks(200_000, 800_000, 200_000, 50_000)),
    "rolling over three dimensions": (
        lambda: peak_of(lambda x: x.roll((1, 1, 1), (0, 1, 2)), floats(16, 16, 16)), blocks(16_384, 16_384, 16_384)),
    "rolling over one": (lambda: peak_of(lambda x: x.roll(1, 0), floats(64, 64)), blocks(16_384)),
    "random permutation": (
        lambda: peak_of(lambda: torch.randperm(10_000, device="cuda")),
        blocks(80_000, 80_000, 40_000, 40_000, 131_071)),
    "sort of long rows": (
        lambda: peak_of(lambda x: x.sort(-1), floats(64, 5000)),
        blocks(1_280_000, 2_560_000, 2_560_000, 2_560_000, 1_280_000, 3_910_143)),
    "gradient of an embedding of few columns": (
        lambda: peak_of(
            lambda g, i: torch.ops.aten.embedding_dense_backward(g, i, 50_257, -1, False), floats(4096, 1),
            indices(4096)),
        blocks(32_768, 32_768, 201_028, 32_768, 8, 32_768, 32_768, 8, 36_040, 18_020)),
    "log of sums of exponentials": (
        lambda: peak_of(lambda x: x.logsumexp(-1), floats(64, 100)), blocks(256, 25_600, 256)),
    "rolling what is not contiguous copies it first": (
        lambda: peak_of(lambda x: x.t().roll(1, 0), floats(64, 64)), blocks(16_384, 16_384)),
    "columns begin as large as their image": (
        lambda: peak_of(lambda x: functional.unfold(x, 3), floats(4, 16, 32, 32)), blocks(262_144, 2_073_600)),
    "columns of an image that is not contiguous": (
        lambda: peak_of(lambda x: functional.unfold(x.transpose(2, 3), 3), floats(4, 16, 32, 32)),
        blocks(262_144, 262_144, 2_073_600)),
    "an image from columns keeps their room": (
        lambda: peak_of(lambda x: functional.fold(x, (32, 32), 3), floats(4, 144, 900)), blocks(2_073_600)),
    "truth values are converted before they are counted": (
        lambda: peak_of(lambda x: x.sum(1), floats(24, 60, 256) > 0), blocks(49_152, 2_949_120)),
    "halves that are summed as floats are not": (
        lambda: peak_of(lambda x: x.sum(1, dtype=torch.float32), floats(24, 60, 256).half()), blocks(24_576)),
    "moduli of complex numbers are complex at first": (
        lambda: peak_of(lambda x: x.abs(), torch.randn(512, 100, dtype=torch.cfloat, device="cuda")),
        blocks(204_800, 409_600)),
}


@pytest.mark.parametrize(("measure", "expected"), CASES.values(), ids=CASES.keys())
def test_peak(measure: Callable[[], int], expected: int) -> None:
    assert measure() == expected


@pytest.mark.parametrize(
    "choose",
    [
        lambda x, i: x.gather(1, i), lambda x, i: x.index_select(1, i[0]), lambda x, i: x.sort(1)[0],
        lambda x, i: x[i[0]],
    ],
    ids=["gather", "index_select", "sort", "index"],
)
def test_gradients_are_written_into_one_buffer(choose: Callable[..., torch.Tensor]) -> None:
    """Of the size of the input, beside the gradient of the choice; a dispatch mode makes PyTorch copy it."""
    x, i = floats(256, 1000).requires_grad_(), torch.zeros(256, 4, dtype=torch.int64, device="cuda")
    chosen = choose(x, i)
    grad = torch.ones_like(chosen)
    scratch = 2 ** 19
    assert peak_of(lambda: torch.autograd.grad(chosen, x, grad)) < 2 * x.nbytes - scratch


EMBEDDING_BAG_HELD = [65_536, 65_536, 25_600_000, 65_536, 8, 65_536, 65_536, 8, 72_088, 2_306_816]


def test_gradient_of_an_embedding_bag() -> None:
    weight, chosen = floats(100_000, 64).requires_grad_(), indices(2048, 4)
    out = functional.embedding_bag(chosen, weight, mode="sum")
    grad = torch.ones_like(out)
    assert peak_of(lambda: torch.autograd.grad(out, weight, grad)) == blocks(*EMBEDDING_BAG_HELD)
