"""Which iteration a storage was born in, told from numbers alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from memdoctor.sensing.ticks import Ticks


def marked(birth_counts: list[int]) -> Ticks:
    """Iterations that ended with so many births each; their steps in the whole run are the even numbers."""
    ticks = Ticks(first=2)
    for number, birth_count in enumerate(birth_counts):
        ticks.mark(birth_count, 2 * number)
    return ticks


@pytest.mark.parametrize(
    ("birth", "tick", "step"),
    [
        pytest.param(0, 0, 0, id="in the first"),
        pytest.param(2, 1, 2, id="the next number is born in the next"),
        pytest.param(5, 4, 8, id="after iterations without any"),
        pytest.param(6, 5, 8, id="after the last border, in the iteration that runs"),
    ],
)
def test_a_birth_finds_its_iteration(birth: int, tick: int, step: int) -> None:
    ticks = marked([2, 5, 5, 5, 6])
    survivor = ticks.survivor(SimpleNamespace(birth=birth, nbytes=8, block_bytes=512))
    assert (ticks.of(birth), survivor.born_tick, survivor.born_step) == (tick, tick, step)
    assert ticks.last == 4


def test_a_very_long_run_keeps_so_many_borders_and_the_newest_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memdoctor.sensing.ticks.MOST_TICKS", 16)
    ticks = marked([3 * number for number in range(1, 1001)])
    assert len(ticks._births) <= 16
    assert [ticks.of(3 * number) for number in range(992, 1000)] == list(range(992, 1000))
    found = [ticks.of(3 * number) for number in range(1000)]
    assert found == sorted(found) and all(tick >= number for number, tick in enumerate(found))


def test_iterations_without_births_take_no_memory() -> None:
    assert len(marked([5] * 1000)._births) == 1
