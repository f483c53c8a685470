"""What looking may cost: free at first, then a twentieth of the time; an injected clock tells the time."""

from __future__ import annotations

import pytest

from memdoctor.sensing import budget
from memdoctor.sensing.budget import Budget


class Clock:
    """Processor time and time of day, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    thread_time = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    return clock


def spend(purse: Budget, clock: Clock, seconds: float) -> None:
    with purse.spending():
        clock.now += seconds


def test_the_first_seconds_are_free(clock: Clock) -> None:
    purse = Budget(free_seconds=2.0)
    for _ in range(4):
        spend(purse, clock, 0.5)
        assert purse.is_open


def test_beyond_them_it_rests_until_the_cost_is_a_twentieth_of_the_time(clock: Clock) -> None:
    purse = Budget(free_seconds=2.0)
    spend(purse, clock, 2.5)
    clock.now += 49.0
    assert not purse.is_open
    clock.now += 1.0
    assert purse.is_open
