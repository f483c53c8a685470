"""Evaluation that takes more of the card than training: found with its cause, and left alone where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memdoctor.analysis.phases import phase_findings
from memdoctor.foundation.breakdown import Breakdown, LineBytes
from memdoctor.foundation.locations import Location
from memdoctor.foundation.phases import PhaseReading
from memdoctor.foundation.units import MIB

TRAINING = PhaseReading("train", 3, 10 * MIB, 20 * MIB, peak_bytes=100 * MIB, gradients=True, input_bytes=2 * MIB)


def evaluation(peak_mib: int | None, *, gradients: bool = False, input_mib: int = 2) -> PhaseReading:
    peak_bytes = None if peak_mib is None else peak_mib * MIB
    return PhaseReading("eval", 3, 20 * MIB, 20 * MIB, peak_bytes, gradients, input_mib * MIB)


@pytest.mark.parametrize(
    ("phase", "code", "says"),
    [
        pytest.param(evaluation(150, gradients=True), "MD201", "gradients are on in it", id="gradients"),
        pytest.param(evaluation(150, input_mib=8), "MD207", "its batches are larger, 8.0 MiB against 2.0", id="batch"),
        pytest.param(evaluation(150), "MD207", "20.0 MiB were alive when it began", id="what it gathers"),
    ],
)
def test_the_cause_is_named(phase: PhaseReading, code: str, says: str) -> None:
    (finding,) = phase_findings([TRAINING, phase])
    assert finding.code == code and says in finding.message
    assert "150.0 MiB against 100.0 MiB at their peaks" in finding.message


def test_the_line_is_the_one_that_took_most_or_calls_the_model() -> None:
    """Most is known where the run's peak is the evaluation's."""
    gathered, called = Location("eval.py", 9), Location("eval.py", 5)
    peak = Breakdown(150 * MIB, {}, lines=(LineBytes(gathered, 90 * MIB),))
    phase = replace(evaluation(150), location=called)
    (known,) = phase_findings([TRAINING, phase], peak)
    assert known.location == gathered and known.message.endswith("eval.py:9 allocated 90.0 MiB of it.")
    (unknown,) = phase_findings([TRAINING, phase], replace(peak, allocated_bytes=151 * MIB))
    (recorded,) = phase_findings([TRAINING, replace(phase, gradients=True)], peak)
    assert unknown.location == recorded.location == called


@pytest.mark.parametrize(
    "phases",
    [
        pytest.param([TRAINING, evaluation(105)], id="about the same"),
        pytest.param([TRAINING, evaluation(115)], id="15 MiB more"),
        pytest.param([TRAINING, evaluation(None, gradients=True)], id="less: its peak is not known"),
        pytest.param([evaluation(150, gradients=True)], id="a program that only evaluates"),
        pytest.param([], id="no phases"),
    ],
)
def test_an_evaluation_that_takes_no_more_is_left_alone(phases: list[PhaseReading]) -> None:
    assert list(phase_findings(phases)) == []
