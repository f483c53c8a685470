"""The answer of the batch-size search, and the trials that led to it."""

from __future__ import annotations

from dataclasses import dataclass

from memdoctor.foundation.findings import Skipped

LARGEST_SIZE = 2**16
"""Where a search ends by default, so that a step which needs next to nothing of the card does not grow without end."""


@dataclass(frozen=True)
class Trial:
    """One batch size, tried in a process of its own with whole training steps."""

    batch_size: int
    fits: bool
    peak_bytes: int | None
    """The most that was allocated at once, `torch.cuda.max_memory_allocated()`; None where the card was full."""
    seconds: float
    """From the call of the user's function to the end of its last step; without the start of the process."""


@dataclass(frozen=True)
class BatchSize:
    """The largest batch size that fits a card.

    Check by hand: train two steps at this size and one multiple above it; the second ends in `torch.OutOfMemoryError`.
    """

    batch_size: int
    """0 when not even the smallest size fits."""
    card: str
    """Its name, or the size that was asked for."""
    peak_bytes: int | None
    """Of a training step at this size; None when nothing fits."""
    margin_bytes: int | None
    """What the card has beyond the peak; less than one more multiple needs. Fragmentation takes its share of it."""
    predicted: int | None
    """What the first trials promised, before it was verified; None where they promised nothing."""
    trials: tuple[Trial, ...] = ()
    """In the order in which they ran."""
    skipped: tuple[Skipped, ...] = ()
