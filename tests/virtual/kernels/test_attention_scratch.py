"""Scratch of attention, against recordings of PyTorch 2.12.1's CUDA build (H100, 132 SMs)."""

from __future__ import annotations

import pytest

from memdoctor.virtual.kernels.attention import (
    cudnn_backward_scratch, efficient_backward_workspace, efficient_logsumexp_length, flash_backward_scratch,
    flash_forward_scratch,
)


@pytest.mark.parametrize(
    ("shape", "keys", "dropout", "expected"),
    [
        pytest.param((2, 8, 512, 64), 512, False, [65_536, 4_194_304], id="split"),
        pytest.param((2, 8, 256, 96), 256, False, [32_768, 3_145_728], id="split, odd head"),
        pytest.param((2, 8, 512, 64), 300, False, [65_536, 4_194_304], id="fewer keys"),
        pytest.param((1, 1, 8192, 64), 8192, False, [65_536, 4_194_304], id="one head"),
        pytest.param((2, 8, 512, 64), 512, True, [], id="dropout never splits"),
        pytest.param((8, 8, 256, 64), 256, True, [], id="enough blocks"),
    ],
)
def test_flash_forward(shape: tuple[int, int, int, int], keys: int, dropout: bool, expected: list[int]) -> None:
    batch, heads, queries, size = shape
    assert flash_forward_scratch(
        batch, heads, queries, keys, size, sm_count=132, has_dropout=dropout) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 8, 512, 64), [32_768, 2_097_152]),
        ((2, 8, 100, 80), [8_192, 786_432]),
        ((2, 8, 1024, 128), [65_536, 8_388_608]),
        ((1, 8, 4096, 64), [131_072, 8_388_608]),
    ],
    ids=str,
)
def test_flash_backward(shape: tuple[int, int, int, int], expected: list[int]) -> None:
    assert flash_backward_scratch(*shape) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 8, 512, 64), 2_129_920), ((2, 8, 500, 64), 2_080_000), ((4, 12, 512, 64), 6_389_760)],
    ids=str,
)
def test_cudnn_backward(shape: tuple[int, int, int, int], expected: int) -> None:
    assert cudnn_backward_scratch(*shape) == [expected]


@pytest.mark.parametrize(
    ("shape", "is_half", "expected"),
    [
        ((2, 8, 512, 64), False, 2_099_200),
        ((2, 8, 500, 64), True, 2_099_200),
        ((2, 8, 1024, 128), False, 8_392_704),
        ((2, 8, 1024, 128), True, 8_390_656),
        ((2, 8, 100, 80), False, 1_049_088),
        ((2, 8, 100, 80), True, 1_048_832),
        ((8, 8, 256, 64), False, 4_198_400),
    ],
    ids=str,
)
def test_efficient_backward(shape: tuple[int, int, int, int], is_half: bool, expected: int) -> None:
    assert efficient_backward_workspace(*shape, is_half=is_half) == expected


def test_the_logsumexp_of_the_efficient_kernel_is_padded() -> None:
    assert [efficient_logsumexp_length(queries) for queries in (500, 512, 100)] == [512, 512, 128]
