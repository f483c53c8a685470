"""Whole programs, each on the virtual card and on the host: the same holder, the same line, bytes of either.

The expectations were worked out by hand from shapes, before the programs ran under memdoctor: elements times four
bytes, on the card rounded up to blocks of 512.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from memdoctor.run import run

pytestmark = pytest.mark.usefixtures("searches_need_not_wait")

PROGRAMS = Path(__file__).parent / "retention_programs"

KEEPS = [
    pytest.param("paced_prefetcher", "Prefetcher.ready", 24, 24576, 24576, id="a thread that prepares too much"),
    pytest.param("agent_without_maxlen", "Agent.memory", 28, 1536, 1200, id="a deque without a length"),
    pytest.param("hooks_of_each_forward", "CamNet.features._forward_hooks", 21, 4608, 4608, id="a hook for each call"),
    pytest.param("carried_state_in_evaluation", "state", 35, 3584, 3584, id="a state carried through a test"),
    pytest.param("schedule_with_history", "margins", 14, 512, 400, id="a list made anew in a closure"),
    pytest.param("pinned_features", "FeatureCache._in_use", 25, 3072, 3000, id="a set beside weak values"),
    pytest.param("every_tenth_image", "Dashboard.media['reconstruction']", 14, 512, 512, id="every tenth step"),
    pytest.param("skipped_batches", "RobustTrainer.skipped", 34, 2560, 2400, id="a handler that keeps batches"),
    pytest.param("running_metrics", "RunningMetrics.sums['soft_accuracy']", 16, 6144, 6144, id="a sum of metrics"),
    pytest.param("prototypes_by_epoch", "PrototypeNet.prototypes", 18, 1536, 1440, id="a dict by epoch"),
]

UNEVEN = {
    "paced_prefetcher": "on the host a date is late by up to the time between two counts",
    "every_tenth_image": "on the host a date is late by up to the time between two counts",
}

HOST_ONLY = [
    pytest.param("arrays_of_the_host", "VideoWriter.frames", 16, 682 * 512 * 3 * 4, id="arrays of numpy"),
]

LETS_GO = [
    "metric_reset_each_epoch", "anchors_until_full", "ema_and_swa", "longer_sequences", "samples_between_epochs",
    "volumes_in_a_cache",
]


@pytest.mark.parametrize(("program", "name", "line", "card_bytes", "host_bytes"), KEEPS)
@pytest.mark.parametrize("card", ["24GiB", "none"])
def test_the_holder_is_named_with_its_line_and_bytes(
    program: str, name: str, line: int, card_bytes: int, host_bytes: int, card: str
) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card=card, output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert (finding.retainer.name, finding.location.line) == (name, line)
    expected = host_bytes if card == "none" else card_bytes
    tolerance = 0.1 if card == "none" and program in UNEVEN else 0.01
    assert finding.retainer.bytes_per_step == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("program", "name", "line", "host_bytes"), HOST_ONLY)
@pytest.mark.parametrize("card", ["24GiB", "none"])
def test_what_only_the_host_keeps_is_named(program: str, name: str, line: int, host_bytes: int, card: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card=card, output=None).report
    (finding,) = report.findings
    assert finding.location is not None
    assert report.growth.verdict == "host-leak"
    assert finding.retainer is not None
    assert (finding.code, finding.retainer.name, finding.location.line) == ("MD505", name, line)
    assert finding.retainer.host_bytes_per_step == pytest.approx(host_bytes, rel=0.01)


@pytest.mark.parametrize("program", LETS_GO)
@pytest.mark.parametrize("card", ["24GiB", "none"])
def test_a_program_that_lets_go_is_left_alone(program: str, card: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card=card, output=None).report
    assert report.growth.verdict in ("none", "plateau", "worst-batch")
    assert report.findings == ()
