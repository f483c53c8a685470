"""The phases of a run, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memdoctor.foundation.phases import PhaseReading
from memdoctor.foundation.units import format_bytes


def phase_lines(phases: Sequence[PhaseReading]) -> Iterator[str]:
    """Nothing for a program that only does one thing, or has nothing on a card."""
    if len(phases) < 2 or not any(phase.after_bytes or phase.peak_bytes for phase in phases):
        return
    for phase in phases:
        times = f" ({phase.times:,} times)" if phase.times > 1 else ""
        peak = f", peak {format_bytes(phase.peak_bytes)}" if phase.peak_bytes else ""
        before, after = format_bytes(phase.before_bytes), format_bytes(phase.after_bytes)
        yield f"{phase.phase}{times}: {before} before, {after} after{peak}"
