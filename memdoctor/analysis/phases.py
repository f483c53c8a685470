"""Whether evaluation takes more of the card than training, which it should not, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.foundation.phases import EVAL, TRAIN, PhaseReading
from memdoctor.foundation.units import MIB, format_bytes

_CLEARLY = 1.1
_WORTHY_BYTES = 16 * MIB


def phase_findings(phases: Sequence[PhaseReading]) -> Iterator[Finding]:
    """Nothing where a peak is not known, or where the program does only one of both."""
    peaks = {each.phase: each for each in phases if each.peak_bytes}
    training, evaluation = peaks.get(TRAIN), peaks.get(EVAL)
    if training is None or evaluation is None:
        return
    if _peak(evaluation) < max(_CLEARLY * _peak(training), _peak(training) + _WORTHY_BYTES):
        return
    more = (
        f"Evaluation takes more of the card than training, {format_bytes(_peak(evaluation))} against "
        f"{format_bytes(_peak(training))} at their peaks"
    )
    yield _recorded(more) if evaluation.gradients else _otherwise(more, training, evaluation)


def _peak(phase: PhaseReading) -> int:
    return phase.peak_bytes or 0


def _recorded(more: str) -> Finding:
    return Finding(
        code="MD201",
        name="eval-without-no-grad",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH,
        message=f"{more}: gradients are on in it, so activations are kept for a backward that never runs.",
        location=None,
        advice=Advice("Evaluate under `torch.no_grad()`.", Applicability.MANUAL),
    )


def _otherwise(more: str, training: PhaseReading, evaluation: PhaseReading) -> Finding:
    sizes = f"{format_bytes(evaluation.input_bytes)} against {format_bytes(training.input_bytes)}"
    larger = evaluation.input_bytes > training.input_bytes
    why = (
        f"its batches are larger, {sizes}" if larger
        else f"{format_bytes(evaluation.before_bytes)} were alive when it began, and what it gathers comes on top"
    )
    return Finding(
        code="MD207",
        name="eval-peak-above-training",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        message=f"{more}: {why}.",
        location=None,
        advice=Advice(
            "Evaluate with a smaller batch." if larger
            else "Set gradients to None before it, and move what it gathers to the host.", Applicability.MANUAL,
        ),
    )
