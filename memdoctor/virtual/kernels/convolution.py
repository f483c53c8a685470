"""Scratch of convolutions: columns where PyTorch does them without cuDNN, and a model of what cuDNN takes."""

from __future__ import annotations

import math
from collections.abc import Sequence


def unfolded_columns_bytes(
    channels: int, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], output: Sequence[int],
    element_bytes: int,
) -> int:
    """Columns of one sample, reused for the next (aten/src/ATen/native/cuda/ConvolutionMM2d.cu).

    A kernel of one element with stride 1 and no padding reads the input as it is: 0.
    """
    if all(size == 1 for size in kernel) and all(step == 1 for step in stride) and not any(padding):
        return 0
    return channels * math.prod(kernel) * math.prod(output) * element_bytes


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
