"""Scratch of sorting, against recordings of PyTorch 2.12.1's CUDA build on an H100."""

from __future__ import annotations

import pytest

from memdoctor.virtual.kernels.sorting import (
    radix_sort_scratch, random_permutation_scratch, sort_scratch, sorted_sum_scratch,
)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2000, 1), (3072, 54_783), (4096, 71_167), (5000, 87_039), (6000, 102_911), (10_000, 167_935),
        (50_000, 816_127), (200_000, 3_249_663), (1_000_000, 16_227_839),
    ],
)
def test_gradients_of_indexing_sort_by_as_many_bits_as_there_are_rows(count: int, expected: int) -> None:
    """Into 1,000 rows: the largest index is 999."""
    assert sorted_sum_scratch(count, 999) == [8 * count, 8 * count, 8 * count, expected]


@pytest.mark.parametrize(("count", "expected"), [(3073, 67_583), (4096, 83_455), (16_384, 283_135), (8192, 150_015)])
def test_embedding_sorts_all_bits(count: int, expected: int) -> None:
    assert radix_sort_scratch(count, 8, 8, 64) == expected


@pytest.mark.parametrize(
    ("count", "key_bytes", "expected"),
    [
        (1000, 4, 1), (4096, 4, 58_879), (10_000, 4, 131_071), (30_000, 4, 375_039), (31_000, 8, 514_047),
        (100_000, 8, 1_633_279), (1_000_000, 8, 16_236_031),
    ],
)
def test_random_permutation(count: int, key_bytes: int, expected: int) -> None:
    assert random_permutation_scratch(count) == [8 * count, key_bytes * count, key_bytes * count, expected]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((8, 512), [4096], id="short rows"),
        pytest.param((64, 4096), [32_768], id="the longest short rows"),
        pytest.param((64, 5000), [2_560_000, 2_560_000, 1_280_000, 3_910_143], id="long rows"),
        pytest.param((8, 100_000), [6_400_000, 6_400_000, 3_200_000, 9_761_279], id="longer rows"),
        pytest.param((1, 100_000), [800_000, 1_228_287], id="one long row"),
    ],
)
def test_sort(shape: tuple[int, ...], expected: list[int]) -> None:
    assert sort_scratch(shape, -1, 4) == expected
