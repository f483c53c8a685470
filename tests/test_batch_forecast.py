"""The forecast on recordings made by hand; `test_batch_size.py` has those of real trials."""

from __future__ import annotations

from memdoctor.batch_forecast import Forecast

MIB = 2**20


def holding(mib_a_sample: int, size: int) -> list[int]:
    """10 MiB of weights, and one tensor that grows."""
    return [10 * MIB, mib_a_sample * size * MIB, -2]


def test_two_recordings_give_the_size_at_which_the_card_is_full() -> None:
    """Pages are 2 MiB: 10 + 3 * 30 MiB are 100 MiB."""
    forecast = Forecast(100 * MIB, multiple_of=1, max_size=4096)
    assert (forecast.goal, forecast.first) == (None, None)
    forecast.learn(2, holding(3, 2))
    assert (forecast.goal, forecast.first) == (4, None), "one recording promises nothing; the next is at twice its size"
    forecast.learn(4, holding(3, 4))
    assert (forecast.goal, forecast.first) == (30, 30)


def test_fragmentation_is_in_it() -> None:
    """A tensor of 10 MiB a sample, half of it and it again: the half lies in its old segment and nothing else does."""
    forecast = Forecast(1000 * MIB, multiple_of=1, max_size=4096)
    for size in (2, 4):
        forecast.learn(size, [10 * size * MIB, -1, 5 * size * MIB, 10 * size * MIB])
    assert forecast.goal == 50, "allocated bytes alone promise 66"


def test_multiples_and_the_maximum_are_kept() -> None:
    for multiple_of, max_size, goal in ((8, 4096, 24), (1, 20, 20), (8, 20, 16)):
        forecast = Forecast(100 * MIB, multiple_of=multiple_of, max_size=max_size)
        for size in (multiple_of, 2 * multiple_of):
            forecast.learn(size, holding(3, size))
        assert forecast.goal == goal


def test_recordings_that_differ_promise_nothing_until_two_are_alike() -> None:
    forecast = Forecast(1000 * MIB, multiple_of=1, max_size=4096)
    forecast.learn(2, holding(1, 2))
    forecast.learn(4, [MIB, *holding(1, 4)])
    assert forecast.goal is None
    forecast.learn(8, [MIB, *holding(2, 8)])
    assert forecast.goal == forecast.first is not None


def test_a_better_recording_replaces_the_forecast_and_not_the_first() -> None:
    forecast = Forecast(100 * MIB, multiple_of=1, max_size=4096)
    for size, mib in ((2, 1), (4, 1), (40, 2)):
        forecast.learn(size, holding(mib, size))
    assert forecast.first == 90
    assert forecast.goal is not None and 40 < forecast.goal < 50


def test_a_size_that_could_not_be_recorded_teaches_nothing() -> None:
    forecast = Forecast(100 * MIB, multiple_of=1, max_size=4096)
    forecast.learn(2, None)
    assert forecast.goal is None
