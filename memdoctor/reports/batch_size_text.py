"""The answer of the batch-size search for a person: the size, what it leaves free, and the trials by size."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.batch_sizes import BatchSize, Trial
from memdoctor.foundation.units import format_bytes


def batch_size_text(result: BatchSize) -> str:
    """Plain text without a trailing newline."""
    return "\n".join(_lines(result))


def trial_line(trial: Trial) -> str:
    """One trial as it ends: `batch size 24 fits: peak 1.2 GiB, 0.3 s`."""
    if trial.peak_bytes is None:
        return f"batch size {trial.batch_size} does not fit: the card is full, {trial.seconds:.1f} s"
    return f"batch size {trial.batch_size} fits: peak {format_bytes(trial.peak_bytes)}, {trial.seconds:.1f} s"


def _lines(result: BatchSize) -> Iterator[str]:
    yield from _answer(result)
    yield ""
    yield "batch size  fits        peak  seconds"
    for trial in sorted(result.trials, key=lambda trial: trial.batch_size):
        yield _row(trial)
    for skipped in result.skipped:
        yield f"not looked at: {skipped.what}: {skipped.why}"


def _answer(result: BatchSize) -> Iterator[str]:
    if result.peak_bytes is None or result.margin_bytes is None:
        smallest = min(trial.batch_size for trial in result.trials)
        yield f"Not even batch size {smallest} fits on {result.card}."
        yield (
            "Make the step smaller: half precision (torch.autocast), activation checkpointing "
            "(torch.utils.checkpoint), shorter inputs, or an optimizer that keeps less."
        )
        return
    yield f"The largest batch size that fits on {result.card} is {result.batch_size}."
    peak, left = format_bytes(result.peak_bytes), format_bytes(result.margin_bytes)
    if all(trial.fits for trial in result.trials):
        yield f"Its steps peak at {peak} and leave {left}; no size failed, the search ended at its maximum (--max)."
        return
    yield f"Its steps peak at {peak} and leave {left}, too little or too fragmented for the next size."
    if result.predicted is not None:
        yield f"The first trials predicted {result.predicted}; {len(result.trials)} trials proved the answer."


def _row(trial: Trial) -> str:
    fits, peak = ("no", "full") if trial.peak_bytes is None else ("yes", format_bytes(trial.peak_bytes))
    return f"{trial.batch_size:>10}  {fits:>4}  {peak:>10}  {trial.seconds:7.1f}"
