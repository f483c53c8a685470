"""The verdict on a whole run, from looks made by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest

from memdoctor.analysis.growth import decide
from memdoctor.analysis.retention import findings
from memdoctor.foundation.findings import Confidence
from memdoctor.foundation.looks import Look, OwnerPath, Piece
from memdoctor.foundation.readings import MemoryReading, Timeline
from tests.analysis.looks_by_hand import list_look, look, survivor

TOTAL = (Piece("global", "total_loss", "__main__", "train.py", 0),)
BANK = (Piece("global", "bank", "__main__", "train.py", 0),)


def timeline(*allocated: int) -> Timeline:
    peaks = accumulate(allocated, max)
    return Timeline(
        tuple(
            MemoryReading(step, "train", 0.0, size, size, peak, size, 0)
            for step, (size, peak) in enumerate(zip(allocated, peaks))
        )
    )


def shell_look(tick: int, nodes: int) -> Look:
    path = OwnerPath(TOTAL, (), through_graph=False, has_grad_fn=True, is_scalar=True, graph_nodes=nodes)
    return replace(look(tick, {}), paths=(path,), host_bytes=29_000 * tick)


def bank_look(tick: int, nbytes: int) -> Look:
    largest = replace(survivor(tick), nbytes=nbytes, block_bytes=nbytes)
    return replace(look(tick, {}), newest=(largest,), paths=(OwnerPath(BANK, (largest.birth,), False),))


SHELLS = [shell_look(4, 115), shell_look(9, 230), shell_look(19, 460)]


def test_a_leak_says_when_the_card_is_full() -> None:
    """Step 13 has 10,000 bytes in use, of 20,240: room for 20 more steps of 512 bytes."""
    growth = decide(timeline(*[10_000] * 14), [list_look(13, range(2, 12))], capacity_bytes=20_240)
    assert (growth.verdict, growth.bytes_per_step, growth.since_step) == ("leak", 512, 2)
    assert growth.full_at_step == 13 + 20


def test_the_card_is_full_later_where_iterations_of_another_unit_come_between() -> None:
    """Each of the 13 optimizer steps was followed by a call in evaluation, which keeps nothing."""
    looks = [replace(list_look(13, range(2, 12)), step=26)]
    growth = decide(timeline(*[10_000] * 27), looks, capacity_bytes=20_240)
    assert growth.full_at_step == 26 + 2 * 20


@pytest.mark.parametrize(
    ("run", "looks", "says"),
    [
        pytest.param(timeline(900, 1000, 1000), [], "No leak in these 3 iterations", id="as much as after the second"),
        pytest.param(timeline(900, 1000, 1100, 1000), [look(4, {})], "No leak in these 4 iterations", id="up and down"),
        pytest.param(timeline(900, 1000, 1100), [], "3 iterations are too few", id="more each time"),
        pytest.param(timeline(900, 1000), [], "2 iterations are too few", id="two"),
        pytest.param(timeline(900), [], "1 iteration is too few", id="one"),
        pytest.param(timeline(*[1000] * 9), [list_look(8, [3])], "9 iterations are too few", id="something is kept"),
        pytest.param(timeline(*[0] * 9), [look(4, {})], "9 iterations are too few", id="an unknown host"),
        pytest.param(timeline(*[0] * 10), [look(9, {})], "No leak in these 10 iterations", id="the host was searched"),
    ],
)
def test_a_short_run_in_which_nothing_grows_begins_with_that(run: Timeline, looks: list[Look], says: str) -> None:
    growth = decide(run, looks)
    assert growth.explanation.startswith(says)
    assert (growth.verdict, growth.confidence) == ("none", Confidence.LOW)


def test_growth_that_was_last_seen_long_ago_is_not_called_a_leak() -> None:
    growth = decide(timeline(*[1000] * 60), [list_look(13, range(2, 12))])
    assert (growth.verdict, growth.confidence) == ("none", Confidence.LOW)


def test_an_evaluation_that_ended_long_ago_is_not_judged() -> None:
    """A buffer that was filling during it is full by now, which its own looks cannot tell."""
    evaluation = replace(list_look(13, range(2, 12)), unit="model call", evaluates=True)
    later = replace(look(40, {}), unit="optimizer step")
    assert decide(timeline(*[1000] * 41), [evaluation, later]).verdict != "leak"
    assert decide(timeline(*[1000] * 14), [evaluation]).verdict == "leak"


def test_a_ring_buffer_is_a_plateau() -> None:
    looks = [list_look(9, range(2, 8)), list_look(14, range(7, 13), died=range(2, 7))]
    assert decide(timeline(*[512] * 15), looks).verdict == "plateau"


def test_one_large_batch_is_the_worst_batch() -> None:
    growth = decide(timeline(*[1000] * 17, 5000, *[1000] * 5), [])
    assert (growth.verdict, "iteration 17" in growth.explanation) == ("worst-batch", True)


def test_what_comes_to_stay_is_no_worst_batch() -> None:
    """A copy of the model from iteration 9 on: the peak rises by what stays."""
    assert decide(timeline(*[1000] * 9, *[2000] * 9), []).verdict == "none"


def test_a_leak_that_begins_late_says_so() -> None:
    growth = decide(timeline(*[1000] * 30), [list_look(29, range(15, 28))])
    assert "since iteration 15. The iterations before that kept nothing." in growth.explanation


def test_every_fifth_iteration_is_said_to_be_so() -> None:
    growth = decide(timeline(*[1000] * 40), [list_look(38, range(2, 38, 5))])
    assert growth.explanation.startswith("About every 5 optimizer steps something is kept")


def test_a_leak_only_in_evaluation_says_so() -> None:
    growth = decide(timeline(*[1000] * 30), [list_look(29, range(2, 28), evaluates=True)])
    assert growth.explanation.startswith("Each model call in evaluation keeps 512 B more")


def test_a_short_run_is_not_judged_with_confidence() -> None:
    growth = decide(timeline(*[1000] * 5), [])
    assert (growth.verdict, growth.confidence) == ("none", Confidence.LOW)


def test_the_classic_keeps_nodes_and_host_memory_but_no_device_bytes() -> None:
    growth = decide(timeline(*[1000] * 20), SHELLS)
    (finding,) = findings(SHELLS, growth, lambda path: "total_loss = 0\nfor x in y:\n    total_loss += loss\n")
    assert growth.verdict == "host-leak"
    assert finding.retainer is not None and finding.location is not None
    assert (finding.code, finding.retainer.name, finding.location.line) == ("MD101", "total_loss", 3)
    retainer = finding.retainer
    assert (retainer.bytes_per_step, retainer.graph_nodes_per_step, retainer.host_bytes_per_step) == (0, 23, 29_000)


def test_a_graph_that_is_cut_in_between_is_no_host_leak() -> None:
    looks = [shell_look(4, 115), shell_look(9, 30), shell_look(19, 460)]
    assert decide(timeline(*[1000] * 20), looks).verdict == "none"


def test_a_tensor_that_is_replaced_by_a_larger_one() -> None:
    looks = [bank_look(8, 8 * 8192), bank_look(11, 11 * 8192), bank_look(14, 14 * 8192)]
    growth = decide(timeline(*[1000] * 15), looks, source=lambda path: "for x in y:\n    bank = cat([bank, x])\n")
    assert (growth.verdict, growth.bytes_per_step) == ("leak", 8192)


def test_a_batch_that_grows_is_assigned_anew() -> None:
    looks = [bank_look(8, 8 * 8192), bank_look(11, 11 * 8192), bank_look(14, 14 * 8192)]
    growth = decide(timeline(*[1000] * 15), looks, source=lambda path: "for x in y:\n    bank = x.cuda()\n")
    assert growth.verdict == "none"
