"""The search is exact, and needs few trials; each row of the table states how many, and how many of them fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdoctor.analysis.batch_search import BatchSearch

MIB = 2**20


@dataclass(frozen=True)
class Outcome:
    largest: int
    predicted: int | None
    trials: int
    failures: int


def search(peak_bytes: Callable[[int], int], room_bytes: int, *, multiple_of: int = 1, max_size: int = 4096) -> Outcome:
    """Run the search on a card of `room_bytes` whose trials peak at `peak_bytes(size)`."""
    finder = BatchSearch(room_bytes, multiple_of=multiple_of, max_size=max_size)
    tried: list[int] = []
    failures = 0
    while (size := finder.ask()) is not None:
        assert size not in tried, "a size is never tried twice"
        assert size % multiple_of == 0 and 0 < size <= max_size
        tried.append(size)
        fits = peak_bytes(size) <= room_bytes
        failures += not fits
        finder.tell(size, fits, peak_bytes(size) if fits else None)
    return Outcome(finder.largest, finder.predicted, len(tried), failures)


def line(base_mib: int, sample_mib: int) -> Callable[[int], int]:
    return lambda size: (base_mib + sample_mib * size) * MIB


def stairs(size: int) -> int:
    """Padded to multiples of 64 samples, as some kernels do."""
    return (100 + -(-size // 64) * 64) * MIB


def steeper_above_100(size: int) -> int:
    return (100 + size + 2 * max(size - 100, 0)) * MIB


def square(size: int) -> int:
    """A contrastive loss: a matrix of all pairs."""
    return (100 + size * size) * MIB


def flatter_above_100(size: int) -> int:
    return (100 + 2 * min(size, 100) + max(size - 100, 0)) * MIB


TRUTHS = [
    # peaks, card in MiB, largest, predicted, trials, failures
    pytest.param(line(0, 1), 1, 1, None, 2, 1, id="only 1 fits"),
    pytest.param(line(0, 1), 2, 2, 2, 3, 1, id="2 fit, nothing fixed"),
    pytest.param(line(0, 1), 1000, 1000, 1000, 3, 1, id="through the origin: the first guess is the answer"),
    pytest.param(line(1000, 1), 1002, 2, 2, 3, 1, id="2 fit beside a large model"),
    pytest.param(line(1000, 1), 1003, 3, 3, 4, 1, id="3 fit beside a large model"),
    pytest.param(line(1000, 1), 1007, 7, 7, 4, 1, id="7 fit beside a large model"),
    pytest.param(line(1000, 10), 24576, 2357, 2357, 5, 1, id="a line with fixed cost"),
    pytest.param(line(20000, 10), 24576, 457, 457, 5, 1, id="a model that nearly fills the card"),
    pytest.param(line(1000, 1), 1000 + 4095, 4095, 4095, 6, 1, id="one below the maximum"),
    pytest.param(line(1000, 1), 1000 + 4096, 4096, 4096, 5, 0, id="exactly the maximum"),
    pytest.param(line(1000, 1), 10**6, 4096, 4096, 3, 0, id="everything fits up to the maximum"),
    pytest.param(line(1000, 1), 1000, 0, None, 1, 1, id="nothing fits"),
    pytest.param(line(50, 0), 100, 4096, 4096, 5, 0, id="memory that does not depend on the size: leaps of 16"),
    pytest.param(stairs, 740, 640, 604, 14, 5, id="stairs of 64"),
    pytest.param(steeper_above_100, 1000, 366, 548, 13, 5, id="steeper above 100: the line is refuted, then halved"),
    pytest.param(flatter_above_100, 1000, 800, 535, 6, 1, id="flatter above 100: the line comes from below"),
    pytest.param(square, 1000, 30, 90, 9, 5, id="all pairs of a batch: the line is refuted, then halved"),
]


@pytest.mark.parametrize(("peaks", "room_mib", "largest", "predicted", "trials", "failures"), TRUTHS)
def test_table_of_truths(
    peaks: Callable[[int], int], room_mib: int, largest: int, predicted: int | None, trials: int, failures: int
) -> None:
    assert search(peaks, room_mib * MIB) == Outcome(largest, predicted, trials, failures)


@given(
    base_bytes=st.integers(0, 2**36),
    sample_bytes=st.integers(1, 2**30),
    truth=st.integers(1, 4096),
    spare=st.floats(0, 1, exclude_max=True),
)
def test_a_line_takes_at_most_six_trials_and_one_failure(
    base_bytes: int, sample_bytes: int, truth: int, spare: float
) -> None:
    room_bytes = base_bytes + sample_bytes * truth + int(spare * sample_bytes)
    found = search(lambda size: base_bytes + sample_bytes * size, room_bytes)
    assert found.largest == truth
    assert found.trials <= 6
    assert found.failures <= 1


def test_a_line_takes_four_trials_on_average() -> None:
    """Answers from 1 to 4096 beside models of 0 to 1,000 samples' memory, each as often as the next."""
    trials = [
        search(line(model, 1), (model + truth) * MIB).trials
        for model in (0, 1, 10, 100, 1000)
        for truth in (2**power for power in range(13))
    ]
    assert sum(trials) <= 4 * len(trials)


@given(
    steps=st.lists(st.integers(0, 1000), min_size=1, max_size=300),
    room_bytes=st.integers(0, 100_000),
    multiple_of=st.integers(1, 20),
)
def test_any_peaks_that_never_fall_give_the_exact_size(steps: list[int], room_bytes: int, multiple_of: int) -> None:
    peaks = [sum(steps[: size + 1]) for size in range(len(steps))]
    max_size = len(steps) - 1
    truth = max((size for size in range(0, max_size + 1, multiple_of) if size and peaks[size] <= room_bytes), default=0)
    found = search(peaks.__getitem__, room_bytes, multiple_of=multiple_of, max_size=max_size)
    assert found.largest == truth


@given(room_bytes=st.integers(1, 10**6))
def test_a_card_that_is_full_before_its_capacity_costs_at_most_a_halving(room_bytes: int) -> None:
    """Fragmentation: the peaks lie on a line, but the card is full some per cent below its capacity."""
    usable_bytes = room_bytes * 95 // 100
    finder = BatchSearch(room_bytes, max_size=4096)
    trials = 0
    while (size := finder.ask()) is not None:
        trials += 1
        peak_bytes = 100 + 7 * size
        finder.tell(size, peak_bytes <= usable_bytes, peak_bytes)
    assert finder.largest == max(min((usable_bytes - 100) // 7, 4096), 0)
    assert trials <= 3 + 12


def test_multiples_are_the_only_sizes_asked_for() -> None:
    """8 is the largest multiple of 8 for a card that holds 15 samples."""
    assert search(line(0, 1), 15 * MIB, multiple_of=8) == Outcome(8, None, 2, 1)


def test_a_maximum_below_the_multiple_asks_for_nothing() -> None:
    assert BatchSearch(10**9, multiple_of=8, max_size=7).ask() is None


def test_ask_repeats_itself_until_told() -> None:
    finder = BatchSearch(100)
    assert [finder.ask(), finder.ask()] == [1, 1]


@dataclass(frozen=True)
class Led:
    largest: int
    tried: list[int]


def led(truth: int, forecast: Callable[[list[int]], int], *, max_size: int = 4096) -> Led:
    """Search where `truth` is the largest that fits, led by a forecast from the sizes that fitted so far."""
    finder = BatchSearch(10**9, max_size=max_size)
    finder.tell(2, True, 2)
    finder.tell(4, True, 4)
    tried: list[int] = []
    while (size := finder.ask(forecast([told for told in tried if told <= truth]))) is not None:
        tried.append(size)
        finder.tell(size, size <= truth, size if size <= truth else None)
    return Led(finder.largest, tried)


@pytest.mark.parametrize(
    ("truth", "forecast", "tried"),
    [
        pytest.param(100, lambda fitting: 100, [100, 101], id="right: it fits and the next does not"),
        pytest.param(4096, lambda fitting: 4096, [4096], id="right, and the maximum: nothing to refute"),
        pytest.param(4, lambda fitting: 4, [5], id="right, and tried already"),
        pytest.param(3000, lambda fitting: 3000 if 99 in fitting else 98, [98, 99, 3000, 3001], id="too low, right"),
        pytest.param(100, lambda fitting: 96, [96, 97, 98, 100, 104, 102, 101], id="too low: doubled strides"),
        pytest.param(99, lambda fitting: 99 if fitting else 100, [100, 94, 99], id="too high by one, then right"),
        pytest.param(60, lambda fitting: 100, [100, 94, 88, 76, 52, 64, 58, 61, 59, 60], id="too high and stays so"),
        pytest.param(4, lambda fitting: 2, [6, 5], id="below what fitted: on from there"),
    ],
)
def test_a_forecast_is_tried_first_and_left_when_refuted(
    truth: int, forecast: Callable[[list[int]], int], tried: list[int]
) -> None:
    found = led(truth, forecast)
    assert found.tried == tried
    assert found.largest == truth


@given(truth=st.integers(4, 4096), forecasts=st.lists(st.integers(0, 5000), min_size=1))
def test_no_forecast_misleads_the_search(truth: int, forecasts: list[int]) -> None:
    """Whatever is said, the answer is exact, and no size is tried twice."""
    found = led(truth, lambda fitting: forecasts[len(fitting) % len(forecasts)])
    assert found.largest == truth
    assert len(found.tried) == len(set(found.tried))
