"""The phases of a program, and what was alive at their borders."""

from __future__ import annotations

from dataclasses import dataclass

from memdoctor.foundation.locations import Location

TRAIN = "train"
EVAL = "eval"
SAVE = "save"
LOAD = "load"


@dataclass(frozen=True)
class PhaseReading:
    """One phase over the whole run; it may come many times, as an evaluation after each epoch.

    Training and evaluation begin with a call of a model, whose inputs are alive by then, and end where the next begins.
    Check by hand: print `torch.cuda.memory_allocated()` before and after it.
    """

    phase: str
    """`train`, `eval`, `save` (`torch.save`) or `load` (`torch.load`)."""
    times: int
    before_bytes: int
    """Allocated when it began for the last time."""
    after_bytes: int
    """Allocated when it ended for the last time."""
    peak_bytes: int | None
    """The most in it; None where something before it took more, so that nobody knows."""
    gradients: bool = False
    """True if autograd recorded in it."""
    input_bytes: int = 0
    """Of the largest tensors that a model was called with."""
    location: Location | None = None
    """The user's line that called a model first in it, when it came last."""
