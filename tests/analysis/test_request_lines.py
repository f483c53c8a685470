"""Which recordings are alike, and what they say about other sizes; sequences by hand."""

from __future__ import annotations

import pytest

from memdoctor.analysis.request_lines import at_size, best_pair, same_order


@pytest.mark.parametrize(
    ("some", "others", "alike"),
    [
        pytest.param([100, -1], [900, -1], True, id="only bytes differ"),
        pytest.param([100, 100, -1], [100, 100, -2], False, id="another one is freed"),
        pytest.param([100, -1], [-1, 100], False, id="freed before"),
        pytest.param([100, 0], [100, 100], False, id="the cache is emptied in one"),
        pytest.param([100], [100, -1], False, id="one is longer"),
    ],
)
def test_same_order(some: list[int], others: list[int], alike: bool) -> None:
    assert same_order(some, others) == same_order(others, some) == alike


def test_each_allocation_is_on_a_line_of_its_own() -> None:
    """Weights stay, activations grow by 100 bytes a sample, three bytes each two samples are rounded up."""
    small = (2, [5000, 200, 3, -2, 0])
    large = (4, [5000, 400, 6, -2, 0])
    assert at_size(10, small, large) == [5000, 1000, 15, -2, 0]
    assert at_size(3, small, large) == [5000, 300, 5, -2, 0]


def test_an_allocation_that_shrinks_stays_one() -> None:
    """A chunk that gets smaller with the batch; below one byte it would read as another kind of request."""
    assert at_size(100, (2, [300]), (4, [200])) == [1]


@pytest.mark.parametrize(
    ("recordings", "pair"),
    [
        pytest.param({2: [20]}, None, id="one"),
        pytest.param({2: [20], 4: [40]}, (2, 4), id="two"),
        pytest.param({2: [20], 4: [40], 100: [1000]}, (4, 100), id="the largest, and one at half of it at most"),
        pytest.param({2: [20], 100: [1000], 101: [1010]}, (2, 101), id="no neighbours where others are"),
        pytest.param({2: [20], 100: [7, 1000], 101: [7, 1010]}, (100, 101), id="neighbours if only they are alike"),
        pytest.param({2: [20], 4: [40], 100: [7, 1000]}, (2, 4), id="the largest that has a partner"),
        pytest.param({2: [20], 4: [7, 40]}, None, id="none alike"),
    ],
)
def test_best_pair(recordings: dict[int, list[int]], pair: tuple[int, int] | None) -> None:
    assert best_pair(recordings) == pair
