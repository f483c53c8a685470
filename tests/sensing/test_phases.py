"""Phases are seen at calls of models, and their borders are read only where they change."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from memdoctor.foundation.phases import PhaseReading
from memdoctor.sensing.phases import Phases

MODEL = nn.Linear(4, 4)


class Card:
    """Figures by hand; counts how often they are asked for."""

    def __init__(self) -> None:
        self.allocated_bytes = self.peak_bytes = self.asked = 0

    def take(self, allocated_bytes: int, peak_bytes: int) -> None:
        self.allocated_bytes, self.peak_bytes = allocated_bytes, max(self.peak_bytes, peak_bytes)

    def figures(self) -> tuple[int, int]:
        self.asked += 1
        return self.allocated_bytes, self.peak_bytes


def call(phases: Phases, *, evaluates: bool = False, batch: int = 1) -> None:
    """With gradients off where it evaluates; a vector of four floats is 16 bytes."""
    with torch.set_grad_enabled(not evaluates):
        phases.call(MODEL.train(not evaluates), (torch.zeros(batch, 4),))


def test_the_borders_and_peaks_of_training_and_evaluation() -> None:
    """The second training stays below what evaluation took, so its peak is that of the first."""
    card = Card()
    with Phases(card.figures) as phases:
        call(phases)
        card.take(100, 500)
        call(phases, batch=2)
        call(phases, evaluates=True, batch=8)
        card.take(110, 900)
        call(phases)
        card.take(120, 700)
    assert all(phase.location is not None for phase in phases.readings)
    assert tuple(replace(phase, location=None) for phase in phases.readings) == (
        PhaseReading("train", 2, before_bytes=110, after_bytes=120, peak_bytes=500, gradients=True, input_bytes=32),
        PhaseReading("eval", 1, before_bytes=100, after_bytes=110, peak_bytes=900, gradients=False, input_bytes=128),
    )
    assert card.asked == 4


def test_a_target_network_in_each_of_a_few_steps_makes_no_phases() -> None:
    with Phases(Card().figures) as phases:
        for _ in range(3):
            call(phases)
            call(phases, evaluates=True)
    assert phases.readings == ()


def test_a_peak_that_later_phases_begin_above_is_not_known() -> None:
    """900 was the first evaluation's; the second begins at 2,000, below the 3,000 that training took before it."""
    card = Card()
    with Phases(card.figures) as phases:
        for allocated_bytes, peak_bytes in ((100, 500), (2000, 3000)):
            call(phases)
            call(phases)
            card.take(allocated_bytes, peak_bytes)
            call(phases, evaluates=True)
            card.take(allocated_bytes, peak_bytes + 400 if allocated_bytes == 100 else peak_bytes)
    assert [(each.phase, each.peak_bytes) for each in phases.readings] == [("train", 3000), ("eval", None)]


def test_an_evaluation_with_gradients_is_told() -> None:
    with Phases(Card().figures) as phases:
        phases.call(MODEL.eval(), ())
    assert phases.readings[0].phase == "eval" and phases.readings[0].gradients


def test_saving_and_loading_are_phases_within_another() -> None:
    card, file = Card(), io.BytesIO()
    with Phases(card.figures) as phases:
        call(phases)
        card.take(100, 100)
        torch.save({"a": torch.ones(2)}, file)
        file.seek(0)
        assert torch.equal(torch.load(file)["a"], torch.ones(2))
        assert "map_location" in inspect.signature(torch.load).parameters
    assert [(each.phase, each.times, each.before_bytes) for each in phases.readings] == [
        ("train", 1, 0), ("save", 1, 100), ("load", 1, 100),
    ]


@pytest.mark.parametrize("fail", [lambda: torch.load(io.BytesIO(b"no archive"))])
def test_an_error_of_a_load_is_the_programs(fail: Callable[[], object]) -> None:
    with Phases(Card().figures), pytest.raises(Exception, match="."):
        fail()


def test_a_teacher_in_each_step_makes_no_phases_and_is_not_read_for_ever() -> None:
    card = Card()
    with Phases(card.figures) as phases:
        for _ in range(2000):
            call(phases)
            call(phases, evaluates=True)
    assert phases.readings == () and card.asked <= 1002
