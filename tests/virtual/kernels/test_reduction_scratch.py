"""Scratch of reductions, against recordings of PyTorch 2.12.1's CUDA build (132 SMs of 2048 threads)."""

from __future__ import annotations

import pytest

from memdoctor.virtual.kernels.reductions import reduction_scratch

RECORDED = [
    pytest.param((2048, 10000), {0}, [138_240_000, 316], id="bias of a vocabulary"),
    pytest.param((2048, 512), {0}, [8_388_608, 16], id="bias"),
    pytest.param((8192, 3072), {0}, [138_412_032, 96], id="many rows"),
    pytest.param((50257, 768), {0}, [138_412_032, 24], id="more rows than blocks"),
    pytest.param((256, 8, 1536), {0, 1}, [25_165_824, 48], id="two leading dimensions"),
    pytest.param((64, 100, 100), {0, 1}, [1_280_000, 8], id="odd sizes"),
    pytest.param((32, 64, 5000), {0, 1}, [81_920_000, 160], id="not a multiple of the vector"),
    pytest.param((1000, 1000), {0, 1}, [492, 4], id="all elements"),
    pytest.param((300_000,), {0}, [148, 4], id="one dimension"),
    pytest.param((64,), {0}, [], id="one block is enough"),
    pytest.param((0, 4), {0}, [], id="nothing to sum"),
]


@pytest.mark.parametrize(("shape", "reduced", "expected"), RECORDED)
def test_scratch_is_what_was_recorded(shape: tuple[int, ...], reduced: set[int], expected: list[int]) -> None:
    strides = [1] * len(shape)
    for index in reversed(range(len(shape) - 1)):
        strides[index] = strides[index + 1] * shape[index + 1]
    found = reduction_scratch(shape, strides, reduced, accumulator_bytes=4, sm_count=132, threads_per_sm=2048)
    assert found == expected


def test_a_smaller_card_needs_less() -> None:
    sizes = [
        reduction_scratch((8192, 3072), (3072, 1), {0}, accumulator_bytes=4, sm_count=sm_count, threads_per_sm=2048)[0]
        for sm_count in (40, 132)
    ]
    assert sizes[0] < sizes[1]
