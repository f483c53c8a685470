"""Temporaries inside operators, forward and backward; bytes of PyTorch 2.12.1 on CUDA, as blocks of 512.

Gradients come expanded from a sum, so that copies of gradients which are not contiguous are seen as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from memdoctor.virtual.gpu import virtual_gpu

Run = Callable[..., Any]


def slope_of(run: Run) -> Run:
    def both(*operands: torch.Tensor) -> None:
        run(*(one.requires_grad_() for one in operands)).sum().backward()
    return both


def ids(count: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, count, shape, device="cuda")


TABLE, PICTURE, VOLUME = (64, 1000), (4, 8, 16, 16), (2, 4, 16, 16, 16)
FORWARD: dict[str, tuple[Run, list[tuple[int, ...]], int]] = {
    "isinf": (torch.isinf, [TABLE], 320_000),
    "count_nonzero": (torch.count_nonzero, [TABLE], 576_512),
    "count_nonzero along one dimension": (lambda x: torch.count_nonzero(x, dim=1), [TABLE], 576_512),
    "one_hot": (lambda: functional.one_hot(ids(10, 1000), 10), [], 88_576),
    "isin, few to compare with": (lambda: torch.isin(ids(10, 1000), ids(10, 20)), [], 31_232),
    "equal": (torch.equal, [TABLE, TABLE], 64_512),
    "allclose": (torch.allclose, [TABLE, TABLE], 1_024_000),
    "multinomial": (lambda x: torch.multinomial(x.abs(), 5), [TABLE], 518_144),
    "multinomial of one": (lambda x: torch.multinomial(x.abs(), 1), [TABLE], 514_560),
    "multinomial that puts back": (lambda x: torch.multinomial(x.abs(), 5, True), [TABLE], 1_026_560),
    "normal around a tensor": (lambda x: torch.normal(x, 1.0), [TABLE], 512_000),
    "places of what is not contiguous": (
        lambda x: torch.searchsorted(torch.linspace(0, 1, 20, device="cuda")[::2], x.t()), [TABLE], 769_024),
    "running sum of truth values": (lambda x: (x > 0).cumsum(1), [TABLE], 1_088_000),
    "hann_window": (lambda: torch.hann_window(1000, device="cuda"), [], 4096),
    "blackman_window": (lambda: torch.blackman_window(1000, device="cuda"), [], 20_480),
    "blackman_window of halves": (lambda: torch.blackman_window(1000, device="cuda", dtype=torch.float16), [], 10_240),
    "kaiser_window": (lambda: torch.kaiser_window(4096, device="cuda"), [], 33_792),
    "kaiser_window that is not periodic": (lambda: torch.kaiser_window(1000, False, device="cuda"), [], 8192),
    "vander": (lambda x: torch.vander(x, 7), [(500,)], 38_912),
    "vander, increasing": (lambda x: torch.vander(x, 7, True), [(500,)], 38_912),
    "running sum across": (lambda x: x.t().cumsum(0), [TABLE], 512_000),
    "running sum across, in place": (lambda x: x.t().cumsum_(0), [TABLE], 512_000),
    "running sum of halves across": (lambda x: x.half().t().cumsum(0, dtype=torch.float32), [TABLE], 896_000),
    "running maximum of a part": (lambda x: x[:, 1:].cummax(1), [TABLE], 1_023_488),
    "logarithm of running sums of a part": (lambda x: x[:, 1:].logcumsumexp(1), [TABLE], 512_000),
    "renorm": (lambda x: x.renorm(2, 0, 1.0), [TABLE], 256_512),
    "renorm of halves": (lambda x: x.half().renorm(2, 0, 1.0), [TABLE], 257_024),
    "matrix_exp of several, with a workspace of cuBLAS": (torch.matrix_exp, [(10, 32, 32)], 452_608 + 2**25),
    "matrix_exp of one, with a workspace of cuBLAS": (torch.matrix_exp, [(500, 500)], 13_004_800 + 2**25),
    "matrix_exp of numbers": (torch.matrix_exp, [(5, 1, 1)], 512),
    "product added to columns apart, with a workspace of cuBLAS": (
        lambda x, y, z: x[:, ::2].addmm_(y, z), [(64, 128), (64, 64), (64, 64)], 16_384 + 2**25),
    "product written to columns apart, with a workspace of cuBLAS": (
        lambda x, y, z: torch.mm(y, z, out=x[:, ::2]), [(64, 128), (64, 64), (64, 64)], 16_384 + 2**25),
}
BACKWARD: dict[str, tuple[Run, list[tuple[int, ...]], int]] = {
    "pdist": (functional.pdist, [TABLE], 16_393_216),
    "cdist of absolute differences": (lambda x, y: torch.cdist(x, y, 1.0), [TABLE, TABLE], 16_946_176),
    "median": (torch.median, [TABLE], 2_068_992),
    "max": (torch.max, [TABLE], 642_560),
    "clamp between tensors": (torch.clamp, [TABLE] * 3, 897_536),
    "take": (lambda x: x.take(ids(1000, 500)), [TABLE], 261_120),
    "unfold": (lambda x: x.unfold(1, 10, 5), [TABLE], 265_216),
    "bilinear, with two workspaces of cuBLAS": (
        functional.bilinear, [(64, 32), (64, 16), (20, 32, 16)], 148_480 + 2 * 2**25),
    "pad by reflection": (lambda x: functional.pad(x, (3, 4), "reflect"), [TABLE], 515_072),
    "fractional_max_pool2d": (lambda x: functional.fractional_max_pool2d(x, 2, output_size=7), [PICTURE], 53_248),
    "adaptive_avg_pool3d": (lambda x: functional.adaptive_avg_pool3d(x, 3), [VOLUME], 133_120),
    "adaptive_max_pool3d": (lambda x: functional.adaptive_max_pool3d(x, 3), [VOLUME], 135_168),
    "max_pool3d": (lambda x: functional.max_pool3d(x, 2), [VOLUME], 181_248),
    "avg_pool3d": (lambda x: functional.avg_pool3d(x, 2), [VOLUME], 148_480),
    "interpolate, exact": (lambda x: functional.interpolate(x, None, 2, "nearest-exact"), [PICTURE], 164_864),
    "interpolate, antialiased": (
        lambda x: functional.interpolate(x, None, 0.5, "bilinear", antialias=True), [PICTURE], 41_984),
    "interpolate, trilinear": (lambda x: functional.interpolate(x, None, 2, "trilinear"), [(2, 4, 8, 8, 8)], 148_480),
    "interpolate, linear": (lambda x: functional.interpolate(x, None, 2, "linear"), [(2, 4, 80)], 8704),
    "instance_norm without weights": (functional.instance_norm, [PICTURE], 34_816),
    "fractional_max_pool3d": (lambda x: functional.fractional_max_pool3d(x, 2, output_size=7), [VOLUME], 154_112),
    "interpolate lines": (lambda x: functional.interpolate(x, None, 2), [(4, 8, 160)], 62_464),
    "interpolate volumes": (lambda x: functional.interpolate(x, None, 2), [VOLUME], 1_180_672),
    "pad pictures by reflection": (lambda x: functional.pad(x, (1, 2, 3, 1), "reflect"), [PICTURE], 82_432),
    "group_norm without weights": (lambda x: functional.group_norm(x, 4), [PICTURE], 69_632),
    "batch_norm of what is not contiguous": (
        lambda x, y, z: functional.batch_norm(x.transpose(2, 3), None, None, y, z, True), [PICTURE, (8,), (8,)],
        101_376),
    "embedding, scaled by frequency": (
        lambda x: functional.embedding(ids(64, 100, 20), x, scale_grad_by_freq=True), [TABLE], 8_357_376),
    "index with a gap": (lambda x: x[ids(4, 5), :, ids(16, 5)], [PICTURE], 72_704),
    "scatter_reduce of maxima": (
        lambda x, y: x.scatter_reduce(0, ids(64, 64, 1000), y, "amax"), [TABLE, TABLE], 2_881_024),
    "largest of a bag": (lambda x: functional.embedding_bag(ids(64, 20, 5), x, mode="max"), [TABLE], 500_736),
    "bag with weights": (
        lambda x, y: functional.embedding_bag(ids(64, 20, 5), x, mode="sum", per_sample_weights=y),
        [TABLE, (20, 5)], 643_584),
    "renorm": (lambda x: x.renorm(2, 0, 1.0), [TABLE], 1_026_560),
    "renorm by sums along the rows": (lambda x: x.renorm(1, 1, 1.0), [TABLE], 1_037_312),
    "running maximum across": (lambda x: x.t().cummax(0)[0], [TABLE], 1_024_000),
    "matrix_exp of several, with two workspaces of cuBLAS": (
        torch.matrix_exp, [(10, 32, 32)], 1_969_152 + 2 * 2**25),
    "conv_tbc, with two workspaces of cuBLAS": (
        lambda x, y, z: torch.conv_tbc(x, y, z, 1), [(50, 8, 32), (3, 32, 64), (64,)], 179_200 + 2 * 2**25),
}


@pytest.mark.parametrize(
    ("run", "shapes", "expected"),
    [
        *(pytest.param(*case, id=name) for name, case in FORWARD.items()),
        *(pytest.param(slope_of(run), shapes, expected, id=f"{name}, and back")
          for name, (run, shapes, expected) in BACKWARD.items()),
    ],
)
def test_peak(run: Run, shapes: list[tuple[int, ...]], expected: int) -> None:
    """On a card whose allocator never leaves a block larger than asked for."""
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0, cudnn_workspace="none"):
        operands = [torch.randn(shape, device="cuda") for shape in shapes]
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run(*operands)
        assert torch.cuda.max_memory_allocated() - before == expected


def test_few_rows_of_half_precision_are_summed_as_floats() -> None:
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0):
        grad, rows = torch.zeros(20_000, 1000, dtype=torch.float16, device="cuda"), ids(64, 20_000)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        torch.ops.aten.embedding_dense_backward(grad, rows, 64, -1, False)
        assert torch.cuda.max_memory_allocated() - before == 900_608


@pytest.mark.parametrize(("count", "expected"), [(8, 783_360), (64, 3_651_072)], ids=["few", "sorted"])
def test_slope_of_an_embedding_copies_indices_that_are_not_contiguous(count: int, expected: int) -> None:
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0):
        weight = torch.randn(2000, 64, device="cuda", requires_grad=True)
        rows = ids(2000, count, 129)[:, :-1]
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        functional.embedding(rows, weight).sum().backward()
        assert torch.cuda.max_memory_allocated() - before == expected


def test_batch_norm_of_an_evaluation_copies_no_gradient() -> None:
    with virtual_gpu("h100-80gb", allocator_conf="expandable_segments:True", context_bytes=0):
        x, weight, bias, mean, variance = (torch.ones(shape, device="cuda") for shape in (PICTURE, 8, 8, 8, 8))
        operands = [one.requires_grad_() for one in (x, weight, bias)]
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        functional.batch_norm(operands[0], mean, variance, *operands[1:], False).sum().backward()
        assert torch.cuda.max_memory_allocated() - before == 34_816
