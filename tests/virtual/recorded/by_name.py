"""One of the programs as a script of `benchmarks/gpu_accuracy.py`: `make(name) -> step(number)`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.virtual.recorded.programs import PROGRAMS  # noqa: E402  # found by the line above


def make(name: str) -> Callable[[int], None]:
    step = PROGRAMS[name]()
    return lambda number: step()
