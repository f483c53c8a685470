"""Why the card was full: each cause where it is one, and left alone where it only looks like one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memdoctor.analysis.oom import FRAGMENTATION, LEAK, LIMIT, OTHERS, TOO_BIG, cause_of
from memdoctor.foundation.breakdown import Birthmark, Crash
from memdoctor.foundation.findings import Confidence, Location
from memdoctor.foundation.looks import Growth
from memdoctor.foundation.runs import Verdict

CALM = Verdict(Growth("none", "No leak.", Confidence.HIGH), ())
FULL = Crash(request_bytes=500, allocated_bytes=9_000, reserved_bytes=9_600, free_bytes=400, total_bytes=10_000)


def leaking(bytes_per_step: int, confidence: Confidence = Confidence.HIGH) -> Verdict:
    return Verdict(Growth("leak", "It grows.", confidence, bytes_per_step=bytes_per_step, unit="step"), ())


@pytest.mark.parametrize(
    ("crash", "verdict", "kind"),
    [
        pytest.param(FULL, CALM, TOO_BIG, id="600 stranded of 9,000 are a normal cache"),
        pytest.param(replace(FULL, allocated_bytes=5_000), CALM, FRAGMENTATION, id="4,600 stranded hold 500"),
        pytest.param(replace(FULL, allocated_bytes=5_000, request_bytes=4_601), CALM, TOO_BIG, id="not 4,601"),
        pytest.param(replace(FULL, others_bytes=3_000), CALM, OTHERS, id="others hold what was asked for"),
        pytest.param(replace(FULL, others_bytes=300), CALM, TOO_BIG, id="another process's context is small"),
        pytest.param(replace(FULL, others_bytes=3_000, request_bytes=5_000), CALM, TOO_BIG, id="too big without them"),
        pytest.param(replace(FULL, limit_bytes=10_000, free_bytes=900), CALM, LIMIT, id="the limit is in the way"),
        pytest.param(replace(FULL, limit_bytes=10_000), CALM, TOO_BIG, id="the card would refuse as well"),
        pytest.param(
            replace(FULL, allocated_bytes=5_000, retried_bytes=3_000), CALM, TOO_BIG, id="an attempt before"
        ),
        pytest.param(FULL, leaking(90), LEAK, id="ten steps of 90 are a tenth of it"),
        pytest.param(FULL, leaking(89), TOO_BIG, id="a leak that is not what filled the card"),
        pytest.param(replace(FULL, request_bytes=1_900), leaking(90), LEAK, id="without the leak it had fitted"),
        pytest.param(replace(FULL, request_bytes=1_901), leaking(90), TOO_BIG, id="nor without the leak"),
        pytest.param(FULL, leaking(900, Confidence.LOW), TOO_BIG, id="a leak that is not sure"),
    ],
)
def test_the_cause_is(crash: Crash, verdict: Verdict, kind: str) -> None:
    assert cause_of(crash, verdict, iterations=10).kind == kind


IN_FORWARD = replace(FULL, mark=Birthmark("forward", "Net"), batch_bytes=500, largest_batch_bytes=100)


@pytest.mark.parametrize(
    ("crash", "says"),
    [
        pytest.param(IN_FORWARD, "This batch is 5.0 times the largest before it.", id="a batch unlike the others"),
        pytest.param(replace(FULL, retried_bytes=900), "900 B of it are of an attempt", id="an attempt before"),
    ],
)
def test_what_is_unusual_is_said(crash: Crash, says: str) -> None:
    assert says in cause_of(crash, CALM, 5).explanation


@pytest.mark.parametrize(
    "crash",
    [
        pytest.param(replace(IN_FORWARD, batch_bytes=124), id="a batch a little larger"),
        pytest.param(replace(IN_FORWARD, largest_batch_bytes=0), id="the first batch"),
        pytest.param(replace(IN_FORWARD, mark=Birthmark("optimizer step")), id="the batch is done"),
        pytest.param(replace(FULL, retried_bytes=899), id="little is left of the attempt before"),
    ],
)
def test_what_is_usual_is_not(crash: Crash) -> None:
    assert cause_of(crash, CALM, 5).explanation.endswith("on a card of 9.8 KiB.")


@pytest.mark.parametrize(
    ("mark", "call", "says"),
    [
        pytest.param(
            Birthmark("forward", "Net.head", Location("m.py", 4)), Location("m.py", 4),
            "m.py:4 (forward, Net.head) asked for 500 B while 8.8 KiB were in use on a card of 9.8 KiB.",
            id="forward",
        ),
        pytest.param(
            Birthmark("backward", "Net.head", Location("m.py", 4)), Location("train.py", 9),
            "train.py:9 (backward of m.py:4, Net.head) asked for 500 B",
            id="backward names the forward line",
        ),
        pytest.param(Birthmark(), Location("train.py", 2), "train.py:2 asked for 500 B", id="outside of modules"),
        pytest.param(Birthmark(), None, "A line that is not known asked for 500 B", id="nothing known"),
    ],
)
def test_the_explanation_begins_with_who_asked_for_how_much(mark: Birthmark, call: Location | None, says: str) -> None:
    assert cause_of(replace(FULL, mark=mark, call=call), CALM, 0).explanation.startswith(says)


def test_an_error_without_figures_still_has_a_cause_and_an_advice() -> None:
    cause = cause_of(Crash(0, 0, 0, 0, 0, call=Location("a.py", 1)), CALM, 0)
    assert (cause.kind, cause.explanation) == (TOO_BIG, "a.py:1 asked for memory.")
    assert "batch-size" in cause.advice[0]
