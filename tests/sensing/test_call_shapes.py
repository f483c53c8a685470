"""Shapes are those of training calls, of layers too, and end with the `with`."""

from __future__ import annotations

import torch
from torch import nn

from memdoctor.sensing.call_shapes import CallShapes


class ByKeyword(nn.Module):
    """As models of transformers are called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, *, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x)
        return out


def test_layers_tell_what_a_model_gets_by_keyword() -> None:
    with CallShapes() as shapes:
        ByKeyword()(x=torch.ones(5, 8))
        assert shapes.taken() == ((5, 8),)
        assert shapes.taken() == (), "each step begins anew"


def test_evaluation_is_left_out() -> None:
    with CallShapes() as shapes, torch.no_grad():
        nn.Linear(8, 4)(torch.ones(50, 8))
        assert shapes.taken() == ()


def test_eight_calls_of_a_step_are_enough() -> None:
    layer = nn.Linear(8, 8)
    with CallShapes() as shapes:
        for batch in range(1, 20):
            layer(torch.ones(batch, 8))
        assert [shape[0] for shape in shapes.taken()] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_after_the_with_nothing_is_noted() -> None:
    with CallShapes() as shapes:
        pass
    nn.Linear(8, 4)(torch.ones(5, 8))
    assert shapes.taken() == ()
