"""Whether evaluation takes more of the card than training, which it should not, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memdoctor.foundation.breakdown import Breakdown, LineBytes
from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.foundation.phases import EVAL, TRAIN, PhaseReading
from memdoctor.foundation.units import MIB, format_bytes

_CLEARLY = 1.1
_WORTHY_BYTES = 16 * MIB


def phase_findings(phases: Sequence[PhaseReading], peak: Breakdown | None = None) -> Iterator[Finding]:
    """Nothing where a peak is not known, or where the program does only one of both.

    `peak` is that of the whole run: where it is the evaluation's, it says which line took most.
    """
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
    if evaluation.gradients:
        yield _recorded(more, evaluation)
        return
    lines = peak.lines if peak is not None and peak.allocated_bytes == evaluation.peak_bytes else ()
    yield _otherwise(more, training, evaluation, lines[0] if lines else None)


def _peak(phase: PhaseReading) -> int:
    return phase.peak_bytes or 0


def _recorded(more: str, evaluation: PhaseReading) -> Finding:
    return Finding(
        code="MD201",
        name="eval-without-no-grad",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH,
        message=f"{more}: gradients are on in it, so activations are kept for a backward that never runs.",
        location=evaluation.location,
        advice=Advice("Evaluate under `torch.no_grad()`.", Applicability.MANUAL),
    )


def _otherwise(more: str, training: PhaseReading, evaluation: PhaseReading, most: LineBytes | None) -> Finding:
    sizes = f"{format_bytes(evaluation.input_bytes)} against {format_bytes(training.input_bytes)}"
    larger = evaluation.input_bytes > training.input_bytes
    why = (
        f"its batches are larger, {sizes}" if larger
        else f"{format_bytes(evaluation.before_bytes)} were alive when it began, and what it gathers comes on top"
    )
    where = f" {most.location} allocated {format_bytes(most.nbytes)} of it." if most is not None else ""
    return Finding(
        code="MD207",
        name="eval-peak-above-training",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        message=f"{more}: {why}.{where}",
        location=most.location if most is not None else evaluation.location,
        advice=Advice(
            "Evaluate with a smaller batch, and move what it gathers to the host." if larger
            else "Set gradients to None before it, and move what it gathers to the host.", Applicability.MANUAL,
        ),
    )
