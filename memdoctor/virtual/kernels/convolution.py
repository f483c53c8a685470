"""Scratch of convolutions: columns where PyTorch does them without cuDNN, and a model of what cuDNN takes."""

from __future__ import annotations

import math
from collections.abc import Sequence


def columns_bytes(channels: int, kernel: Sequence[int], positions: Sequence[int], element_bytes: int) -> int:
    """Columns of one sample and group, reused for the next.

    Sources: ConvolutionMM2d.cu, NaiveDilatedConvolution.cu and NaiveConvolutionTranspose2d.cu of
    aten/src/ATen/native/cuda.
    """
    return channels * math.prod(kernel) * math.prod(positions) * element_bytes


def reads_input_as_it_is(kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> bool:
    """A kernel of one element with stride 1 and no padding needs no columns forward (ConvolutionMM2d.cu)."""
    return all(size == 1 for size in kernel) and all(step == 1 for step in stride) and not any(padding)


def depthwise_is_cudnns(
    shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], *, is_dilated: bool, is_half: bool
) -> bool:
    """Of contiguous images with one channel a group, cuDNN does those for which it was measured to be faster.

    `use_cudnn_depthwise` and `check_cudnn_depthwise_workload_with_filter` of aten/src/ATen/native/Convolution.cpp.
    """
    batch, channels, height, width = shape
    if not is_half or is_dilated or channels < 32 or (stride[0] != stride[1] and height != 1):
        return False
    if height == 1 and stride[1] == 1:
        return True
    if kernel[0] != kernel[1] or kernel[1] not in (1, 3, 5) or width < 7 or stride[1] not in (1, 2):
        return False
    if stride[1] == 1:
        return True
    if kernel[1] == 1:
        return width <= 28 if batch == 1 else batch <= 16 and channels >= 128 and width <= 7
    return batch == 1 or channels >= 512 or (channels >= 256 and width >= 28)


def backward_workspace_bytes(
    input_elements: int, weight_shape: Sequence[int], output_elements: int, *, groups_are_channels: bool,
    element_bytes: int,
) -> int:
    """Model of cuDNN's workspace for either gradient of a convolution on tensor cores: copies of its three tensors.

    cuDNN's heuristics are not public. The kernels for tensor cores read channels last, so tensors in PyTorch's usual
    layout are copied; forward there are kernels that do without, and a convolution of single channels (depthwise) does
    not run on tensor cores. How many copies was fitted, with the bytes outside of PyTorch, to nvidia-smi's peaks of 25
    timm models trained on an A100, and checked on 25 others (`benchmarks/timm_peaks.py` has split and errors): one of
    each, and none forward.
    Not seen by the model: single shapes for which cuDNN takes several times as much.
    """
    if groups_are_channels:
        return 0
    return (input_elements + math.prod(weight_shape) + output_elements) * element_bytes
