"""What watching costs in a steady loop, in figures that do not depend on the machine: calls and collections."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import memdoctor

FOLDER = str(Path(memdoctor.__file__).parent)
SETTLED = 41
"""Between the searches of the heap at iterations 40 and 80."""


def training(modules: int) -> Callable[[], None]:
    """One step of a model of so many layers."""
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(modules)])
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=0.01), nn.MSELoss()
    x = torch.ones(2, 4)

    def step() -> None:
        optimizer.zero_grad()
        criterion(model(x), x).backward()
        optimizer.step()

    return step


def calls_in_steady_state(modules: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Python functions of memdoctor in an iteration, those that a tenth of a second calls for left out."""
    calls = 0

    def count(frame: Any, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(FOLDER)

    monkeypatch.setattr("memdoctor.watched_device._SLOW_SECONDS", 1e9)
    monkeypatch.setattr("memdoctor.surroundings._SECONDS_BETWEEN_FIRST", 1e9)
    step = training(modules)
    with memdoctor.profile():
        for _ in range(SETTLED):
            step()
        sys.setprofile(count)
        try:
            for _ in range(20):
                step()
        finally:
            sys.setprofile(None)
    return calls / 20


def test_an_iteration_costs_few_calls_and_none_for_the_modules_within_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound for what nobody notices: when it is passed, the iteration has got a new price, which must be worth it."""
    few, many = (calls_in_steady_state(modules, monkeypatch) for modules in (1, 100))
    assert few == many and many < 60


class Knot:
    """An object that only the collector frees."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """Generations of the collections that begin."""
    begun: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            begun.append(info["generation"])

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


def test_a_program_with_cyclic_garbage_is_collected_as_often_as_without(collections: list[int]) -> None:
    """Collections that come earlier would move garbage, which is still in use then, where it is hardly looked for."""
    step = training(3)

    def work() -> int:
        for number in range(SETTLED + 30):
            if number == SETTLED:
                gc.collect()
                collections.clear()
            knots = [Knot() for _ in range(200)]
            step()
        return len(collections) + len(knots)

    plain = work()
    with memdoctor.profile():
        watched = work()
    assert abs(watched - plain) <= 1 and plain > 205
