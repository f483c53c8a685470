"""Which sizes the forecast asks for, where a program does something else with many samples than with few."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memdoctor.batch_forecast import Forecast, Recording

MIB = 2**20


def few(size: int) -> list[int]:
    """1 MiB a sample."""
    return [size * MIB]


def many_in_two_parts(size: int) -> list[int]:
    """2 MiB a sample, in two tensors."""
    return [size * MIB, size * MIB]


def many_with_a_workspace(size: int) -> list[int]:
    """1.5 MiB a sample, and 10 MiB beside."""
    return [10 * MIB, size * MIB * 3 // 2]


@pytest.mark.parametrize(
    ("many", "asked", "goal"),
    [
        pytest.param(many_in_two_parts, [2, 100, 50, 66], 50, id="a goal is below what has failed: 51 take 102 MiB"),
        pytest.param(many_with_a_workspace, [2, 100, 62, 60], 60, id="a goal is recorded, not the middle"),
    ],
)
def test_beyond_50_samples(many: Callable[[int], list[int]], asked: list[int], goal: int) -> None:
    """2 samples promise 100; that is too many, and so unlike them that only the peaks can be compared.

    The line of peaks from 2 MiB at 2 samples to 200 MiB at 100 crosses 100 MiB at 50, that to 160 MiB at 62; and the
    line from 50 MiB at 50 samples to 200 MiB at 100 does at 66.
    """
    forecast = Forecast(100 * MIB, multiple_of=1, max_size=4096)
    recorded = []
    while (size := forecast.ask()) is not None:
        recorded.append(size)
        forecast.learn(size, Recording(few(size) if size <= 50 else many(size), 0))
    assert (recorded, forecast.goal) == (asked, goal)
