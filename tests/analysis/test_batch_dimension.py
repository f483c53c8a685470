"""How large a batch really was, from shapes by hand."""

from __future__ import annotations

import pytest

from memdoctor.analysis.batch_dimension import Shapes, real_size

SMALL: Shapes = ((2, 3, 32, 32), (2, 64))


@pytest.mark.parametrize(
    ("steps", "real"),
    [
        pytest.param([((40, 3, 32, 32), (40, 64))], 40, id="all of it"),
        pytest.param([((30, 3, 32, 32), (30, 64))], 30, id="the data have only 30"),
        pytest.param([SMALL], 2, id="the argument sets something else"),
        pytest.param([((10, 3, 32, 32),), ((40, 3, 32, 32),)], 40, id="the last batch of an epoch is cut off"),
        pytest.param([((2, 3, 32, 32), (40, 64))], 40, id="one of several inputs grows"),
        pytest.param([()], None, id="no module was called"),
    ],
)
def test_the_dimension_that_grew_most_is_the_batch(steps: list[Shapes], real: int | None) -> None:
    assert real_size(steps, 2, [SMALL]) == real


def test_a_batch_that_stands_second_is_found() -> None:
    """Recurrent layers take time first."""
    assert real_size([((100, 40, 8),)], 2, [((100, 2, 8),)]) == 40


def test_an_empty_dimension_says_nothing() -> None:
    assert real_size([((0, 40),)], 2, [((0, 2),)]) == 40
