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
    """Or the size along the axis that was searched."""
    fits: bool
    peak_bytes: int | None
    """The most that was allocated at once, `torch.cuda.max_memory_allocated()`; None where the size does not fit."""
    seconds: float
    """From the call of the user's function to the end of its last step; without the start of the process."""
    first_peak_bytes: int | None = None
    """The most in the first step and before it: loading, and what the optimizer takes when it begins."""
    step_seconds: float | None = None
    """One training step, once it is like all that follow; None on a virtual card, which computes nothing."""
    alloc_retries: int = 0
    """How often PyTorch emptied its cache for want of memory in steps after the warm-up; those do not fit."""

    @property
    def samples_per_second(self) -> float | None:
        """None where no real card took the step."""
        return self.batch_size / self.step_seconds if self.step_seconds else None


@dataclass(frozen=True)
class Recorded:
    """One size on a virtual card that is never full."""

    batch_size: int
    peak_bytes: int


@dataclass(frozen=True)
class BatchSize:
    """The largest batch size that fits a card.

    Check by hand: train three steps at this size and one multiple above it; the second ends in
    `torch.OutOfMemoryError`, or counts `num_alloc_retries` of `torch.cuda.memory_stats()` up in its third.
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
    """What was forecast before the first trial of such a size; None where nothing was."""
    trials: tuple[Trial, ...] = ()
    """In the order in which they ran."""
    skipped: tuple[Skipped, ...] = ()
    axis: str = ""
    """What the sizes are sizes of, where it is not the batch: `seq_len`."""
    recorded: tuple[Recorded, ...] = ()
    """The sizes whose steps were recorded before the first trial, for the forecast."""
    is_exact: bool = True
    """False where other processes came or went on the card, and the next try may end otherwise."""
    is_ended_by_data: bool = False
    """Whether the data fill no batch above the largest that was looked at."""
    advice: tuple[str, ...] = ()
    """What would need less of the card, from the smallest size's own crash; empty where that was not looked at."""

    @property
    def what(self) -> str:
        """`batch size`, or the axis."""
        return self.axis or "batch size"


@dataclass(frozen=True)
class CardFit:
    """Whether one batch size fits one card of the catalogue."""

    card: str
    total_bytes: int
    trial: Trial


@dataclass(frozen=True)
class WhichCards:
    """The cards of the catalogue that train at one batch size, and those that do not."""

    batch_size: int
    cards: tuple[CardFit, ...] = ()
    """From the smallest card to the largest."""
    axis: str = ""

    @property
    def what(self) -> str:
        """`batch size`, or the axis."""
        return self.axis or "batch size"
