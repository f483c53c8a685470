"""How far the peak of a virtual card may be from that of a real one, by what a program asks of cuDNN.

Measured on other programs, and said as it was measured: `benchmarks/results/timm_peaks.json` (nvidia-smi on a real
A100) and `benchmarks/results/gpu_accuracy.json` (PyTorch's own CUDA build on stub libraries).
"""

from __future__ import annotations

from collections.abc import Set

CONVOLUTIONS = "convolutions"
RECURRENT = "recurrent layers"

_OTHERS = (
    "of 136 programs recorded with PyTorch's CUDA build, which nothing had been fitted to, 120 were equal to the byte "
    "and nine of ten within 0.4 %"
)
_SAID = {
    CONVOLUTIONS: (
        "of 50 networks with convolutions, nine of ten came within 9 % of what nvidia-smi showed on an A100, since "
        "what cuDNN takes is a model"
    ),
    RECURRENT: "what cuDNN takes for recurrent layers is a guess that no card has checked; the rest is exact",
}
"""The least certain kind decides."""


def precision(kinds: Set[str]) -> str:
    """What to expect of the peak, in a sentence without a full stop."""
    kind = next((kind for kind in (RECURRENT, CONVOLUTIONS) if kind in kinds), None)
    return f"simulated; {_OTHERS if kind is None else _SAID[kind]}"
