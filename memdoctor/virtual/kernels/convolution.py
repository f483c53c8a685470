"""Scratch of convolutions that PyTorch does without cuDNN."""

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
