"""Embedding, normalisation, lists of tensors, matrix products and convolutions, against recordings on an H100."""

from __future__ import annotations

import pytest

from memdoctor.virtual.kernels.convolution import columns_bytes, depthwise_is_cudnns, reads_input_as_it_is
from memdoctor.virtual.kernels.embedding import is_sorted_first, splits_rows, summed_by_segments
from memdoctor.virtual.kernels.foreach import foreach_norm_scratch
from memdoctor.virtual.kernels.matmul import cublas_workspace_bytes, needs_copy
from memdoctor.virtual.kernels.memory_formats import is_like_channels_last
from memdoctor.virtual.kernels.normalization import channels_last_scratch, layer_norm_backward_scratch
from memdoctor.virtual.kernels.recurrent import flat_elements
from memdoctor.virtual.kernels.sorting import unique_scratch


@pytest.mark.parametrize(
    ("indices", "rows", "width", "expected"),
    [
        pytest.param(
            4000, 10_000, 8,
            [([32_000, 8], [32_000, 1279]), ([32_000, 32_000], [1279]), ([8, 35_200, 140_800], [])], id="more rows"),
        pytest.param(
            20_000, 16_384, 2,
            [([160_000, 8], [160_000, 1279]), ([131_072, 131_072], [1535]), ([8, 147_072, 147_072], [])],
            id="more indices than rows"),
        pytest.param(
            4000, 100, 8,
            [([32_000, 8], [32_000, 1279]), ([800, 800], [1279]), ([8, 4000, 4000], [])], id="few rows are split"),
    ],
)
def test_embedding_backward(
    indices: int, rows: int, width: int, expected: list[tuple[list[int], list[int]]]
) -> None:
    splits = splits_rows(indices, rows, sm_count=132)
    assert summed_by_segments(indices, rows, width, capability=(9, 0), splits_rows=splits) == expected


def test_few_indices_of_an_embedding_are_not_sorted() -> None:
    assert [is_sorted_first(count) for count in (3072, 3073)] == [False, True]


@pytest.mark.parametrize(
    ("capability", "counts"),
    [((9, 0), (71_680, 2_007_040)), ((8, 0), (28_672, 2_007_040)), ((7, 5), (5120, 1_991_680))], ids=str,
)
def test_unique_keys(capability: tuple[int, int], counts: tuple[int, int]) -> None:
    """Each count is the last before one more tile takes another 256 bytes."""
    for count in counts:
        assert unique_scratch(count + 1, capability) == unique_scratch(count, capability) + 256
    assert unique_scratch(counts[0], capability) == 1279


@pytest.mark.parametrize(
    ("rows", "width", "expected"),
    [
        pytest.param(2048, 768, (0, []), id="few rows"),
        pytest.param(16384, 4096, (0, []), id="wide"),
        pytest.param(100_000, 256, (3125, [6_422_528, 8]), id="many narrow rows in two steps"),
    ],
)
def test_layer_norm_backward(rows: int, width: int, expected: tuple[int, list[int]]) -> None:
    assert layer_norm_backward_scratch(rows, width, sm_count=132, threads_per_sm=2048) == expected


@pytest.mark.parametrize(
    ("channels", "values", "per_channel", "expected"),
    [
        pytest.param(64, 16 * 112 * 112, 4, [131_072, 8], id="forward"),
        pytest.param(256, 16 * 14 * 14, 2, [26_624, 32], id="backward"),
        pytest.param(512, 16 * 7 * 7, 4, [], id="few values: one block per channel"),
    ],
)
def test_batch_norm_on_channels_last(channels: int, values: int, per_channel: int, expected: list[int]) -> None:
    assert channels_last_scratch(channels, values, per_channel) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([1_000_000, 1_000, 9, 300_000], 256), ([1024 * 1024, 1024] * 4, 512), ([5], 4)],
    ids=str,
)
def test_foreach_norm(counts: list[int], expected: int) -> None:
    assert foreach_norm_scratch(counts) == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), 8_519_680), ((8, 9), 8_519_680), ((9, 0), 33_554_432)], ids=str
)
def test_cublas_workspace(capability: tuple[int, int], expected: int) -> None:
    assert cublas_workspace_bytes(capability) == expected


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        pytest.param((4, 8), (8, 1), False, id="row-major"),
        pytest.param((4, 8), (1, 4), False, id="column-major"),
        pytest.param((4, 8), (16, 1), False, id="part of wider rows"),
        pytest.param((4, 8), (16, 2), True, id="every other element"),
        pytest.param((2, 4, 8), (1, 16, 2), True, id="batch innermost"),
    ],
)
def test_operands_that_cublas_cannot_read(shape: tuple[int, ...], strides: tuple[int, ...], expected: bool) -> None:
    assert needs_copy(shape, strides) is expected


@pytest.mark.parametrize(
    ("channels", "kernel", "positions", "expected"),
    [
        pytest.param(3, (7, 7), (112, 112), 7_375_872, id="stem"),
        pytest.param(64, (1, 1), (28, 28), 200_704, id="kernel of one element"),
        pytest.param(8, (3, 3, 3), (6, 10, 10), 518_400, id="volume"),
    ],
)
def test_columns_of_a_convolution_without_cudnn(channels, kernel, positions, expected) -> None:
    assert columns_bytes(channels, kernel, positions, 4) == expected


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "expected"),
    [
        pytest.param((1, 1), (1, 1), (0, 0), True, id="plain 1x1"),
        pytest.param((1, 1), (2, 2), (0, 0), False, id="strided 1x1"),
        pytest.param((3, 3), (1, 1), (0, 0), False, id="3x3"),
    ],
)
def test_which_convolution_reads_its_input_as_it_is(kernel, stride, padding, expected) -> None:
    assert reads_input_as_it_is(kernel, stride, padding) is expected


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "is_half", "expected"),
    [
        pytest.param((8, 64, 20, 20), (3, 3), (1, 1), True, True, id="half, stride 1"),
        pytest.param((8, 64, 20, 20), (3, 3), (1, 1), False, False, id="float"),
        pytest.param((8, 16, 20, 20), (3, 3), (1, 1), True, False, id="few channels"),
        pytest.param((8, 64, 20, 20), (7, 7), (1, 1), True, False, id="large kernel"),
        pytest.param((8, 64, 20, 20), (3, 3), (2, 2), True, False, id="stride 2"),
        pytest.param((1, 64, 20, 20), (3, 3), (2, 2), True, True, id="stride 2, one sample"),
        pytest.param((8, 64, 1, 200), (1, 4), (1, 1), True, True, id="one dimension"),
    ],
)
def test_which_depthwise_convolutions_are_cudnns(shape, kernel, stride, is_half, expected) -> None:
    assert depthwise_is_cudnns(shape, kernel, stride, is_dilated=False, is_half=is_half) is expected


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        pytest.param((2, 3, 4, 5), (60, 1, 15, 3), True, id="channels last"),
        pytest.param((2, 3, 4, 5), (60, 20, 5, 1), False, id="contiguous"),
        pytest.param((2, 3, 4, 5), (240, 1, 60, 12), True, id="every fourth pixel"),
        pytest.param((2, 1, 4, 5), (20, 20, 5, 1), False, id="one channel"),
        pytest.param((2, 3, 1, 1), (3, 1, 1, 1), False, id="one pixel"),
        pytest.param((2, 3, 1, 5), (15, 1, 15, 3), True, id="one dimension, transposed"),
        pytest.param((2, 3, 2, 4, 5), (120, 1, 60, 15, 3), True, id="volume"),
        pytest.param((6, 4, 5), (20, 1, 4), False, id="three dimensions have no such format"),
    ],
)
def test_what_counts_as_channels_last(shape, strides, expected) -> None:
    assert is_like_channels_last(shape, strides) is expected


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        pytest.param([(12, 5), (12, 4), (12,), (12,)], 132, id="as many as there are"),
        pytest.param([(12, 5), (12, 4)], 132, id="both biases have room where there are none"),
        pytest.param([(16, 5), (16, 2), (2, 4)], 152, id="a projection has no bias"),
    ],
)
def test_the_buffer_of_a_recurrent_layer(shapes, expected) -> None:
    assert flat_elements(shapes) == expected
