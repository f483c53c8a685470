"""The answer of the batch-size search for a person: the size, what it leaves free, and bytes against size."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.batch_sizes import BatchSize, Trial
from memdoctor.foundation.units import format_bytes

_BAR = 30
"""Characters for the whole of what the card gives."""

_SMALLER_STEP = (
    "Make the step smaller: half precision (torch.autocast), activation checkpointing (torch.utils.checkpoint), "
    "shorter inputs, or an optimizer that keeps less."
)


def batch_size_text(result: BatchSize) -> str:
    """Plain text without a trailing newline."""
    return "\n".join(_lines(result))


def trial_line(trial: Trial, what: str = "batch size") -> str:
    """One trial as it ends: `batch size 24 fits: peak 1.2 GiB, 0.3 s`."""
    how = f"does not fit: {_why(trial)}"
    if trial.peak_bytes is not None:
        how = f"fits: peak {format_bytes(trial.peak_bytes)}"
    return f"{what} {trial.batch_size} {how}, {trial.seconds:.1f} s"


def _why(trial: Trial) -> str:
    if trial.alloc_retries:
        return f"PyTorch empties its cache in a step ({trial.alloc_retries} times)"
    return "the card is full"


def _lines(result: BatchSize) -> Iterator[str]:
    yield from _answer(result)
    yield ""
    yield from _table(result)
    for skipped in result.skipped:
        yield f"not looked at: {skipped.what}: {skipped.why}"


def _answer(result: BatchSize) -> Iterator[str]:
    if result.peak_bytes is None or result.margin_bytes is None:
        yield from _nothing_fits(result)
        return
    exactly = "The largest" if result.is_exact else "About the largest"
    yield f"{exactly} {result.what} that fits on {result.card} is {result.batch_size}."
    peak, left = format_bytes(result.peak_bytes), format_bytes(result.margin_bytes)
    failed = [trial for trial in result.trials if not trial.fits]
    if not failed:
        end = "the data fill no larger one" if result.is_ended_by_data else "the search ended at its maximum (--max)"
        yield f"Its steps peak at {peak} and leave {left}; no size failed, {end}."
        return
    yield f"Its steps peak at {peak} and leave {left}, too little or too fragmented for the next size."
    nearest = min(failed, key=lambda trial: trial.batch_size)
    if nearest.alloc_retries:
        yield f"{result.what} {nearest.batch_size} would run, slowly, and counts as too large: {_why(nearest)}."
    if result.predicted is not None:
        yield f"{result.predicted} was forecast; {len(result.trials)} trials proved the answer."


def _nothing_fits(result: BatchSize) -> Iterator[str]:
    smallest = min(trial.batch_size for trial in result.trials)
    yield f"Not even {result.what} {smallest} fits on {result.card}."
    for advice in result.advice:
        yield f"- {advice}"
    yield _SMALLER_STEP
    yield f"`--which-cards {smallest}` says which cards it would fit."


def _table(result: BatchSize) -> Iterator[str]:
    """Recorded sizes and trials by size; speeds only where a real card showed some."""
    scale_bytes = (result.peak_bytes or 0) + (result.margin_bytes or 0)
    has_speed = any(trial.samples_per_second is not None for trial in result.trials)
    yield f"{result.what:>10}      fits        peak  seconds{'  samples/s' if has_speed else ''}"
    tried = {trial.batch_size for trial in result.trials}
    rows = [(each.batch_size, f"{each.batch_size:>10}  recorded  {format_bytes(each.peak_bytes):>10}", each.peak_bytes)
            for each in result.recorded if each.batch_size not in tried]
    rows += [(trial.batch_size, _row(trial, has_speed), trial.peak_bytes or 0) for trial in result.trials]
    width = max((len(text) for _, text, _ in rows), default=0)
    for _, text, peak_bytes in sorted(rows):
        yield f"{text:<{width}}  {_bar(peak_bytes, scale_bytes)}".rstrip()


def _row(trial: Trial, has_speed: bool) -> str:
    peak = "full" if trial.peak_bytes is None else format_bytes(trial.peak_bytes)
    row = f"{trial.batch_size:>10}  {'yes' if trial.fits else 'no':>8}  {peak:>10}  {trial.seconds:7.1f}"
    speed = trial.samples_per_second
    return f"{row}  {'' if speed is None else f'{speed:,.1f}':>9}" if has_speed else row


def _bar(nbytes: int, scale_bytes: int) -> str:
    return "#" * min(round(_BAR * nbytes / scale_bytes), _BAR) if scale_bytes else ""
