"""What convolutions without cuDNN allocate, in order, as PyTorch 2.12.1's CUDA build was recorded to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

aten = torch.ops.aten
PLAIN = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)


def allocations(gpu: VirtualGPU, run: Callable[[], object]) -> list[int]:
    """Bytes asked for, in order."""
    before = len(gpu.requests or ())
    run()
    return [request for request in (gpu.requests or ())[before:] if request > 0]


@pytest.fixture
def gpu():
    with torch.backends.cudnn.flags(enabled=False):
        with virtual_gpu("h100-80gb", context_bytes=0) as card:
            card.record_requests()
            torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")  # the workspace of cuBLAS is there
            yield card


CASES = {
    "columns": ((8, 16, 20, 20), (24, 16, 3, 3), PLAIN, [307_200, 230_400], [204_800, 230_400, 96, 13_824]),
    "one element": (
        (8, 16, 20, 20), (24, 16, 1, 1), ([1, 1], [0, 0], [1, 1], False, [0, 0], 1),
        [307_200], [204_800, 25_600, 96, 1_536]),
    "dilated": (
        (8, 16, 20, 20), (24, 16, 3, 3), ([1, 1], [2, 2], [2, 2], False, [0, 0], 1),
        [307_200, 230_400], [204_800, 13_824, 96, 230_400, *[96] * 8]),
    "groups": (
        (8, 16, 20, 20), (24, 4, 3, 3), (*PLAIN[:5], 4),
        [*[51_200, 76_800, 57_600] * 4, 307_200],
        [*[76_800, 51_200, 51_200, 57_600, 24, 864] * 4, 204_800, 3_456, 96]),
    "depthwise": ((8, 16, 20, 20), (16, 1, 3, 3), (*PLAIN[:5], 16), [204_800], [576, 204_800, 64]),
    "transposed": (
        (8, 16, 20, 20), (16, 24, 2, 2), ([2, 2], [0, 0], [1, 1], True, [0, 0], 1),
        [1_228_800, 153_600, 6_400], [204_800, 153_600, 6_144, 96, 153_600]),
    "one dimension": (
        (8, 16, 200), (24, 16, 3), ([1], [1], [1], False, [0], 1), [153_600, 38_400], [102_400, 38_400, 96, 4_608]),
    "volume": (
        (4, 8, 6, 10, 10), (12, 8, 3, 3, 3), ([1] * 3, [1] * 3, [1] * 3, False, [0] * 3, 1),
        [115_200, 518_400], [76_800, 10_368, 48, 518_400, 48, 48, 48, 48]),
    "volume, depthwise": (
        (4, 8, 6, 10, 10), (8, 1, 3, 3, 3), ([1] * 3, [1] * 3, [1] * 3, False, [0] * 3, 8),
        [76_800], [76_800, 864, 32]),
    "volume, transposed": (
        (4, 8, 6, 10, 10), (8, 12, 2, 2, 2), ([2] * 3, [0] * 3, [1] * 3, True, [0] * 3, 1),
        [76_800, 921_600, 230_400, 19_200], [76_800, 230_400, 3_072, 48, 230_400]),
}


@pytest.mark.parametrize(("shape", "weight", "call", "forward", "backward"), CASES.values(), ids=CASES.keys())
def test_kernels_of_pytorch(gpu, shape, weight, call, forward, backward) -> None:
    tensor, kernel = (torch.empty(size, device="cuda") for size in (shape, weight))
    channels = weight[1] * call[5] if call[3] else weight[0]
    bias, grad = torch.empty(channels, device="cuda"), torch.empty_like(aten.convolution(tensor, kernel, None, *call))
    found = allocations(gpu, lambda: aten.convolution(tensor, kernel, bias, *call))
    given = allocations(
        gpu, lambda: aten.convolution_backward(grad, tensor, kernel, [channels], *call, [True, True, True]))
    assert (found, given) == (forward, backward)


def test_the_weight_alone_needs_columns_last(gpu) -> None:
    tensor, kernel, grad = (torch.empty(*size, device="cuda") for size in (
        (8, 16, 20, 20), (24, 16, 3, 3), (8, 24, 20, 20)))
    found = allocations(
        gpu, lambda: aten.convolution_backward(grad, tensor, kernel, [24], *PLAIN, [False, True, True]))
    assert found == [96, 13_824, 230_400]


@pytest.mark.parametrize(("channels", "dtype", "expected"), [
    pytest.param(64, torch.float32, [2_304, 819_200, 256], id="floats: weight first"),
    pytest.param(64, torch.float16, [409_600, 1_152, 128], id="halves are cuDNN's"),
    pytest.param(16, torch.float16, [288, 102_400, 32], id="few channels are not"),
])
def test_depthwise_convolutions_beside_cudnn(gpu, channels, dtype, expected) -> None:
    tensor, kernel = (torch.empty(*size, device="cuda", dtype=dtype) for size in (
        (8, channels, 20, 20), (channels, 1, 3, 3)))
    with torch.backends.cudnn.flags(enabled=True):
        found = allocations(gpu, lambda: aten.convolution_backward(
            torch.empty_like(tensor), tensor, kernel, [channels], *PLAIN[:5], channels, [True, True, True]))
    assert found[1:] == expected
