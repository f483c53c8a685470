"""The tests that tell a leak from what ordinary programs keep; each clean case is a program that needs its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from memdoctor.analysis.lasting import filling, lasting
from memdoctor.foundation.looks import UNLIMITED, Look, Piece
from tests.analysis.looks_by_hand import LIST, element, list_look, look

STATE = (Piece("global", "optimizer"), Piece("moment", "*"), Piece("key", "'exp_avg'"))


@pytest.mark.parametrize(
    ("looks", "bytes_per_tick"),
    [
        pytest.param([list_look(9, range(2, 8))], 512, id="one more at each iteration"),
        pytest.param([list_look(20, range(2, 19, 4))], 128, id="one more at every fourth"),
        pytest.param([list_look(30, range(12, 29))], 512, id="starts late"),
        pytest.param([list_look(9, range(2, 8)), list_look(14, range(2, 13))], 512, id="and none has gone since"),
        pytest.param([look(12, {LIST: range(2, 11)}, nbytes=700)], 1024, id="one tensor that holds a chain, in blocks"),
        pytest.param([list_look(14, range(2, 13), evaluates=True)], 512, id="outputs of a long evaluation"),
    ],
)
def test_it_lasts(looks: Sequence[Look], bytes_per_tick: int) -> None:
    (found,) = lasting(looks)
    assert found.holder.pieces == LIST
    assert found.bytes_per_tick == bytes_per_tick


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([list_look(20, [5, 12, 18])], id="three checkpoints"),
        pytest.param([list_look(32, [6, 12, 18, 24, 30])], id="a head for each of five tasks"),
        pytest.param([list_look(30, range(2, 12))], id="a cache that has its keys"),
        pytest.param([list_look(40, [2, 3, 4, 5, 6, 7, 8, 9, 20, 36])], id="a cache that fills slower and slower"),
        pytest.param([list_look(9, range(2, 8)), list_look(14, range(7, 13), died=range(2, 7))], id="a ring buffer"),
        pytest.param([list_look(22, range(2, 21)), list_look(23, range(3, 22), died=[2])], id="a long ring, just full"),
        pytest.param([list_look(9, range(2, 8)), list_look(16, range(9, 15), died=range(2, 8))], id="a list per epoch"),
        pytest.param([look(20, {STATE: range(2, 19, 2)})], id="moments of layers that are unfrozen later"),
        pytest.param([list_look(9, range(2, 8), evaluates=True)], id="a short validation"),
        pytest.param([look(9, {})], id="nothing at all"),
    ],
)
def test_it_is_left_alone(looks: Sequence[Look]) -> None:
    assert lasting(looks) == ()


def test_old_optimizers_in_a_list_are_no_moments_of_the_model() -> None:
    paths = {(*LIST, Piece("index", str(index)), *STATE[1:]): (tick,) for index, tick in enumerate(range(2, 11))}
    (found,) = lasting([look(12, paths)])
    assert found.holder.pieces == LIST


def with_capacity(look: Look, capacity: int, *, through_graph: bool = False) -> Look:
    """A list that may have so many elements."""
    bounded = (replace(LIST[0], capacity=capacity),)
    pieces = [(*bounded, *path.pieces[1:]) for path in look.paths]
    paths = (replace(path, pieces=each, through_graph=through_graph) for path, each in zip(look.paths, pieces))
    return replace(look, paths=tuple(paths))


def test_features_that_were_gathered_before_the_training_are_what_it_uses() -> None:
    """In calls of a model in evaluation or not; an evaluation after the training is another matter."""
    calls = replace(list_look(30, range(2, 28)), unit="model call")
    training = look(4, {})
    for first in calls, replace(calls, evaluates=True):
        assert lasting([first, replace(training, step=35)]) == ()
        assert len(lasting([training, first])) == 1


def test_a_buffer_that_is_not_full_is_no_leak_where_it_will_fit() -> None:
    """100 elements of 512 bytes."""
    looks = [with_capacity(list_look(14, range(2, 13)), 100)]
    (found,) = filling(looks, 51_200)
    assert (found.elements, found.full_bytes) == (11, 51_200)
    assert lasting(looks, 51_200) == ()
    assert len(lasting(looks, 51_199)) == 1


def test_a_number_of_slots_that_changes_bounds_nothing() -> None:
    looks = [with_capacity(list_look(9, range(2, 8)), 7), with_capacity(list_look(14, range(2, 13)), 12)]
    assert len(lasting(looks)) == 1


def test_a_buffer_whose_elements_keep_graphs_is_a_leak() -> None:
    assert len(lasting([with_capacity(list_look(14, range(2, 13)), 100, through_graph=True)])) == 1


def test_a_limit_in_the_source_bounds_until_it_is_seen_not_to_hold() -> None:
    def source(path: str) -> str:
        return "def train():\n    kept = []\n    if len(kept) > 10:\n        kept.pop(0)\n"

    looks = [replace(list_look(10, range(2, 9)), files=("train.py",))]
    assert lasting(looks, source=source) == ()
    assert len(lasting([replace(list_look(14, range(2, 13)), files=("train.py",))], source=source)) == 1


def test_what_a_census_met_first_has_no_date() -> None:
    """Every second iteration, but the first two were met together."""
    seen = replace(list_look(24, [4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 22]), exact_births=False)
    (found,) = lasting([replace(seen, survivors=tuple(each for each in seen.survivors if each.born_tick != 4))])
    assert found.bytes_per_tick == 256


def test_what_a_census_meets_ever_more_rarely_keeps_its_pace() -> None:
    """One at each iteration, of which the later counts meet three at once."""
    met = [*range(4, 28), *(tick for tick in range(30, 48, 3) for _ in range(3))]
    held = {element(LIST, index): (index,) for index in range(len(met))}
    seen = look(47, held)
    survivors = tuple(replace(each, born_tick=tick) for each, tick in zip(seen.survivors, met))
    (found,) = lasting([replace(seen, survivors=survivors, exact_births=False)])
    assert found.bytes_per_tick == pytest.approx(512, rel=0.05)


def test_what_begins_late_in_a_census_that_meets_nine_at_once_keeps_its_pace() -> None:
    met = [*[19] * 9, 20, 21, 22]
    seen = look(24, {element(LIST, index): (index,) for index in range(len(met))})
    survivors = tuple(replace(each, born_tick=tick) for each, tick in zip(seen.survivors, met))
    assert len(lasting([replace(seen, survivors=survivors, exact_births=False)])) == 1


def test_what_comes_every_fourth_iteration_is_met_late_and_its_rate_is_right() -> None:
    """From the 32nd iteration on a census counts at every second one, later at every third."""
    met = [5, 7, 11, 15, 19, 23, 27, 31, 36, 40, 44, 48, 54, 57, 60]
    (found,) = lasting([replace(list_look(62, met), exact_births=False)])
    assert found.bytes_per_tick == 128


@pytest.mark.parametrize(
    ("limit", "leaks"),
    [
        pytest.param("self.limit", True, id="a limit that is None"),
        pytest.param("100", False, id="a number, beside an attribute that is None"),
    ],
)
def test_a_limit_without_a_number_bounds_nothing(limit: str, leaks: bool) -> None:
    source = f"class Log:\n    def add(self, x):\n        if len(self.kept) > {limit}: self.kept.pop(0)\n"
    attribute = (Piece("local", "log"), Piece("attr", "kept", "Log", "train.py", capacity=UNLIMITED))
    seen = look(14, {(*attribute, Piece("index", str(tick))): (tick,) for tick in range(2, 13)})
    assert bool(lasting([seen], 10**9, lambda path: source)) is leaks


def test_a_queue_that_is_emptied_half_as_fast_as_filled_is_a_backlog_since_its_beginning() -> None:
    def queue(tick: int) -> range:
        return range(max(2, tick // 2), tick - 1)

    ticks = range(8, 60, 4)
    looks = [list_look(tick, queue(tick), died=range(2, queue(tick)[0])) for tick in ticks]
    (found,) = lasting(looks)
    assert (found.is_backlog, found.since_step) == (True, queue(ticks[0])[0])
    assert found.bytes_per_tick == pytest.approx(256, rel=0.05)
