"""What a card gains for good reasons is named, with bytes; what has no such reason is left alone."""

from __future__ import annotations

import copy

import torch

from memdoctor.foundation.looks import Rise
from memdoctor.sensing.models import Models
from memdoctor.sensing.rises import Rises

WEIGHT_BYTES = 40 * 40 * 4
STATE_BYTES = 2 * WEIGHT_BYTES + 4


class Net(torch.nn.Module):
    """One weight without a bias: 6,400 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(40, 40, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x)
        return out


def begin() -> tuple[Net, Rises]:
    """A model after its first step of Adam: a gradient, two moments, and a counter of four bytes."""
    model, models = Net(), Models()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 40)).sum().backward()
    optimizer.step()
    models.meet(model)
    models.meet_optimizer(optimizer)
    rises = Rises(models, lambda storage: storage.nbytes())
    rises.note(0, 2 * WEIGHT_BYTES + STATE_BYTES)
    return model, rises


def test_the_first_step_is_parameters_gradients_and_optimizer_state() -> None:
    _, rises = begin()
    assert set(rises.found) == {
        Rise(0, "parameters", WEIGHT_BYTES),
        Rise(0, "gradients", WEIGHT_BYTES),
        Rise(0, "optimizer state", STATE_BYTES),
    }


def test_a_moving_average_is_a_copy_of_the_model() -> None:
    model, rises = begin()
    average = copy.deepcopy(model)
    rises.note(5, 10 * WEIGHT_BYTES)
    assert rises.found[3:] == [Rise(5, "a copy of Net", WEIGHT_BYTES)]
    del average


def test_the_best_model_so_far_may_be_kept_as_its_state() -> None:
    model, rises = begin()
    best = {name: value.clone() for name, value in model.state_dict().items()}
    rises.note(5, 10 * WEIGHT_BYTES)
    assert rises.found[3:] == [Rise(5, "a copy of the state of Net", WEIGHT_BYTES)]
    del best


def test_tensors_that_are_no_copy_are_left_alone() -> None:
    _, rises = begin()
    features = {"layer.weight": torch.ones(3, 3)}
    rises.note(5, 10 * WEIGHT_BYTES)
    assert len(rises.found) == 3
    del features
