"""A backlog is told apart from everything else that lets its old ones go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from memdoctor.analysis.backlog import backlog_rate
from tests.analysis.looks_by_hand import survivor

Window = Callable[[int], Sequence[int]]
LOOKS = range(5, 60, 5)


def rate(window: Window, looks: Sequence[int] = LOOKS) -> int | None:
    """From the births that a holder has at each tick; every storage takes 512 bytes."""
    return backlog_rate([(tick, [survivor(birth) for birth in window(tick)]) for tick in looks])


def test_half_of_what_comes_stays() -> None:
    assert rate(lambda tick: range(tick // 2, tick)) == pytest.approx(256, rel=0.05)


@pytest.mark.parametrize(
    "window",
    [
        pytest.param(lambda tick: range(max(0, tick - 20), tick), id="a ring of twenty"),
        pytest.param(lambda tick: range(max(0, tick - 53), tick), id="a long ring, just full"),
        pytest.param(lambda tick: range(tick - tick % 26, tick), id="a list that each epoch empties"),
        pytest.param(lambda tick: range(tick - 4 - tick % 2, tick), id="a queue whose consumer keeps pace"),
        pytest.param(lambda tick: range(tick - 5 - 8 * (tick > 30), tick), id="a queue that got longer once"),
        pytest.param(lambda tick: (), id="nothing"),
    ],
)
def test_what_does_not_grow_for_ever(window: Window) -> None:
    assert rate(window) is None


def test_a_few_looks_say_nothing() -> None:
    assert rate(lambda tick: range(tick // 2, tick), range(10, 30, 5)) is None
