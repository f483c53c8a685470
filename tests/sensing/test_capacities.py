"""What bounds a container is read from it or from the object that has it; a width or a batch size bounds nothing."""

from __future__ import annotations

import functools
from collections import deque
from queue import Queue
from types import SimpleNamespace

import pytest

from memdoctor.foundation.looks import UNLIMITED
from memdoctor.sensing.capacities import capacity_of


class Slotted:
    __slots__ = ("capacity", "items")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.items: list[int] = []


class Shelf(list):  # type: ignore[type-arg]  # as users write it
    """A list that knows its own limit."""

    max_size = 3

    def __init__(self) -> None:
        super().__init__([1])
        self.max_size = 8


@functools.lru_cache(maxsize=16)
def cached(number: int) -> int:
    return number


SAYS = [
    pytest.param(deque([1], maxlen=9), None, 9, id="the maxlen of a deque"),
    pytest.param([1, None, None], None, 3, id="slots of a list"),
    pytest.param([1], SimpleNamespace(capacity=7), 7, id="capacity"),
    pytest.param({"a": 1}, SimpleNamespace(_max_entries=7), 7, id="_max_entries"),
    pytest.param([1], SimpleNamespace(pool_size=50), 50, id="pool_size"),
    pytest.param([], Slotted(5), 5, id="a slot"),
    pytest.param(Shelf(), None, 8, id="a container with an attribute"),
    pytest.param(deque([1]), Queue(maxsize=4), 4, id="a queue"),
    pytest.param({}, cached, 16, id="a cached function"),
    pytest.param(cached, None, 16, id="a cached function, which holds its arrays itself"),
    pytest.param([1], SimpleNamespace(capacity=None), UNLIMITED, id="a capacity of None"),
    pytest.param(deque([1]), Queue(), UNLIMITED, id="a queue without maxsize"),
    pytest.param([1], SimpleNamespace(limit=None, maxlen=5), 5, id="a number beside None"),
]
SAYS_NOTHING = [
    pytest.param(deque([1]), None, id="a deque without maxlen"),
    pytest.param([1, 2], None, id="a list without a hole"),
    pytest.param([1], SimpleNamespace(batch_size=32, hidden_size=64, epochs=3), id="other sizes"),
    pytest.param([1, 2, 3], SimpleNamespace(capacity=2), id="a capacity that has not held"),
    pytest.param([1], SimpleNamespace(maxlen=True, capacity="large"), id="no number"),
    pytest.param("text", SimpleNamespace(capacity=9), id="no container"),
]


@pytest.mark.parametrize(("value", "owner", "capacity"), SAYS)
def test_it_says_how_many(value: object, owner: object, capacity: int) -> None:
    assert capacity_of(value, owner) == capacity


@pytest.mark.parametrize(("value", "owner"), SAYS_NOTHING)
def test_nobody_says(value: object, owner: object) -> None:
    assert capacity_of(value, owner) == 0
