"""The forecast on recordings made by hand; `test_batch_size.py` has those of real trials."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memdoctor.batch_forecast import Forecast, Recording, fits

MIB = 2**20


def line(base_mib: int, mib_a_sample: int) -> Callable[[int], list[int]]:
    """Weights, and one tensor that grows."""
    return lambda size: [base_mib * MIB, mib_a_sample * size * MIB, -2]


def stairs(size: int) -> list[int]:
    """A scratch that is padded to 64 samples of 1 MiB, beside 1 MiB a sample."""
    return [size * MIB, -(-size // 64) * 64 * MIB]


def fragments(size: int) -> list[int]:
    """10 MiB a sample, half of it and it again: the half lies in the old segment, and nothing else fits there."""
    return [10 * size * MIB, -1, 5 * size * MIB, 10 * size * MIB]


def another_way_above_64(size: int) -> list[int]:
    """A library that takes a scratch only for many samples."""
    return [MIB, size * MIB, *([size * MIB] if size > 64 else [])]


def recorded(
    requests: Callable[[int], list[int]], room_mib: int, multiple_of: int = 1, max_size: int = 4096
) -> Forecast:
    """Record what is asked for until nothing is."""
    forecast = Forecast(room_mib * MIB, multiple_of=multiple_of, max_size=max_size)
    asked: list[int] = []
    while (size := forecast.ask()) is not None:
        assert size not in asked and size % multiple_of == 0 and 0 < size <= max_size
        asked.append(size)
        forecast.learn(size, Recording(requests(size), 0))
    assert len(asked) <= 20
    return forecast


@pytest.mark.parametrize(
    ("requests", "room_mib", "goal"),
    [
        pytest.param(line(10, 3), 100, 30, id="a line"),
        pytest.param(line(70, 3), 100, 10, id="a model that nearly fills the card"),
        pytest.param(lambda size: [2 * size * MIB], 64, 32, id="nothing fixed"),
        pytest.param(line(99, 3), 100, 0, id="nothing fits"),
        pytest.param(lambda size: [10 * MIB] * size, 5, 0, id="nothing fits, and no two are alike"),
        pytest.param(lambda size: [10 * MIB] * size, 15, 1, id="one fits, and no two are alike"),
        pytest.param(lambda size: [MIB], 100, 4096, id="everything fits"),
        pytest.param(fragments, 1000, 50, id="fragmentation: allocated bytes alone promise 66"),
        pytest.param(stairs, 1000, 488, id="stairs: 488 and 512 of scratch"),
        pytest.param(another_way_above_64, 302, 150, id="many samples go another way than few"),
        pytest.param(lambda size: [size * size * MIB], 1000, 31, id="all pairs of a batch"),
    ],
)
def test_the_goal_is_what_the_card_holds(requests: Callable[[int], list[int]], room_mib: int, goal: int) -> None:
    assert recorded(requests, room_mib).goal == goal


@pytest.mark.parametrize(("multiple_of", "max_size", "goal"), [(8, 4096, 24), (1, 20, 20), (8, 20, 16)])
def test_multiples_and_the_maximum_are_kept(multiple_of: int, max_size: int, goal: int) -> None:
    assert recorded(line(10, 3), 100, multiple_of, max_size).goal == goal


def test_a_line_takes_two_recordings_and_one_to_prove_it() -> None:
    """2; 12 where 32 MiB would be all samples' on 200 MiB; and the answer."""
    asked: list[int] = []

    def requests(size: int) -> list[int]:
        asked.append(size)
        return line(10, 3)(size)

    assert recorded(requests, 100).goal == 30
    assert asked == [2, 12, 30]


def test_recordings_of_which_no_two_are_alike_are_compared_by_their_peaks() -> None:
    assert recorded(lambda size: [2 * MIB] * size, 1000).goal == 500


def test_retries_count_after_the_warm_up_only() -> None:
    """30 MiB are cached and free when 40 of 64 are asked for: PyTorch gives them back to the driver first."""
    requests = [30 * MIB, -1, 40 * MIB]
    assert fits(requests, 3, 64 * MIB)
    assert not fits(requests, 2, 64 * MIB)
    assert not fits([65 * MIB], 1, 64 * MIB)
