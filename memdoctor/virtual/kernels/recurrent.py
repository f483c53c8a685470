"""Workspace and reserve of cuDNN's recurrent layers.

A guess of their structure, not cuDNN's own formula, which is not public: gates of every step, and what backward needs
of every step and layer.
"""

from __future__ import annotations

GATES = {0: 1, 1: 1, 2: 4, 3: 3}
"""By `cudnnRNNMode_t`: relu, tanh, LSTM, GRU."""
_LSTM = 2


def workspace_bytes(mode: int, steps: int, batch: int, hidden: int, directions: int, element_bytes: int) -> int:
    return GATES[mode] * steps * batch * hidden * directions * element_bytes


def reserve_bytes(
    mode: int, steps: int, batch: int, hidden: int, directions: int, layers: int, element_bytes: int
) -> int:
    states = GATES[mode] + (2 if mode == _LSTM else 1)
    return states * steps * batch * hidden * directions * layers * element_bytes
