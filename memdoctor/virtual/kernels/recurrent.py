"""Workspace and reserve of cuDNN's recurrent layers.

A guess of their structure, not cuDNN's own formula, which is not public: gates of every step, and what backward needs
of every step and layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

GATES = {0: 1, 1: 1, 2: 4, 3: 3}
"""By `cudnnRNNMode_t`: relu, tanh, LSTM, GRU."""
_LSTM = 2


def flat_elements(shapes: Sequence[Sequence[int]]) -> int:
    """Of the buffer that holds the weights of all layers, by their shapes, the first layer's first.

    cuDNN is always asked for both biases (`RNNDescriptorParams` of aten/src/ATen/native/cudnn/RNN.cpp): layers without
    have room for them, one for each matrix of input or hidden weights.
    """
    rows = shapes[0][0]
    has_biases = any(len(shape) == 1 for shape in shapes)
    return sum(math.prod(shape) for shape in shapes) + (
        0 if has_biases else sum(rows for shape in shapes if shape[0] == rows))


def workspace_bytes(mode: int, steps: int, batch: int, hidden: int, directions: int, element_bytes: int) -> int:
    return GATES[mode] * steps * batch * hidden * directions * element_bytes


def reserve_bytes(
    mode: int, steps: int, batch: int, hidden: int, directions: int, layers: int, element_bytes: int
) -> int:
    states = GATES[mode] + (2 if mode == _LSTM else 1)
    return states * steps * batch * hidden * directions * layers * element_bytes
