"""Every program by name, and the card it was recorded for."""

from __future__ import annotations

from collections.abc import Callable

from . import (
    agents, architectures, attention, densities, dynamics, habits, makers, numerics, optimizers, pictures, recurrent,
    scenes, schemes, sequences, several_processes, shapes, signals, tables, thinkers,
)
from .training import Step

STEPS = 3
CARD_BYTES = 84_929_347_584
"""Of every card, so that none is ever full."""
FIRST_STEP_ONLY = frozenset(maker.__name__ for maker in several_processes.PROGRAMS)
"""The recording's stub of the bucket order cannot be read back."""

PROGRAMS: dict[str, Callable[[], Step]] = {
    maker.__name__: maker
    for module in (
        attention, numerics, optimizers, pictures, recurrent, several_processes, tables, agents, architectures, habits,
        scenes, sequences, makers, thinkers, signals, shapes, schemes, dynamics, densities)
    for maker in module.PROGRAMS
}
_CARDS = {"ampere": "a100-80gb", "turing": "t4"}


def card_of(name: str) -> str:
    """Named at the end of a program's name; Hopper where it is not."""
    return _CARDS.get(name.rpartition("_")[2], "h100-80gb")


def steps_of(name: str) -> int:
    return 1 if name in FIRST_STEP_ONLY else STEPS
