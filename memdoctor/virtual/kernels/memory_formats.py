"""Which memory format PyTorch takes a tensor to be in."""

from __future__ import annotations

from collections.abc import Sequence


def is_like_channels_last(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Channels closest together, then the last dimension, and so outwards; gaps do not matter.

    What could be either counts as contiguous. Source: `is_channels_last_strides_2d_s4` of c10/core/MemoryFormat.h.
    """
    if len(shape) not in (4, 5) or strides[1] == 0:
        return False
    least = 0
    for dim in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[dim] == 0 or strides[dim] < least or (dim == 0 and least == strides[1]):
            return False
        least = strides[dim] * max(shape[dim], 1)
    return True
