"""What is said of PyTorch's cache: a habit of emptying it, and a card at its limit."""

from __future__ import annotations

import pytest

from memdoctor.analysis.cache import cache_findings
from memdoctor.foundation.host import CacheUse
from memdoctor.foundation.locations import Location
from memdoctor.foundation.units import GIB

LINE = Location("a.py", 3)
EMPTIED = CacheUse(empties=50, emptied_iterations=50, returned_bytes=50 * GIB, seconds=0.1, location=LINE)


def test_a_cache_that_is_emptied_each_iteration_is_told_with_its_price() -> None:
    (finding,) = cache_findings(EMPTIED, 50)
    assert (finding.code, str(finding.location)) == ("MD401", "a.py:3")
    assert "50 times, in 50 of 50 iterations, and gave 1.0 GiB back to the driver each time" in finding.message
    assert finding.message.endswith("They took 2.0 ms each.")


def test_calls_that_find_nothing_are_told_too() -> None:
    (finding,) = cache_findings(CacheUse(empties=50, emptied_iterations=50), 50)
    assert finding.message.endswith("and found nothing to give back. It frees no tensor.")


def test_a_card_that_is_emptied_by_need_is_at_its_limit() -> None:
    (finding,) = cache_findings(CacheUse(retries=7), 50)
    assert finding.code == "MD402" and finding.message.startswith("7 times there was no room")


def test_retries_that_ended_in_an_error_are_not_told_as_slow() -> None:
    (finding,) = cache_findings(CacheUse(retries=7), 50, refusals=4)
    assert finding.message.startswith("3 times there was no room")
    assert list(cache_findings(CacheUse(retries=7), 50, refusals=5)) == []


@pytest.mark.parametrize(
    ("use", "iterations"),
    [
        pytest.param(None, 50, id="nothing happened"),
        pytest.param(CacheUse(empties=5, emptied_iterations=5), 50, id="before an evaluation"),
        pytest.param(CacheUse(empties=200, emptied_iterations=1), 50, id="while a model is loaded"),
        pytest.param(CacheUse(empties=5, emptied_iterations=5), 5, id="too short to be a habit"),
        pytest.param(CacheUse(retries=2), 50, id="a retry at a first large batch"),
    ],
)
def test_what_is_no_habit_is_left_alone(use: CacheUse | None, iterations: int) -> None:
    assert list(cache_findings(use, iterations)) == []
