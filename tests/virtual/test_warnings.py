"""Warnings read as on a card: they are about the program's own lines."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


def card(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, device="cuda")


WARNED = {
    "by Python": lambda: functional.mse_loss(card(3, 1), card(3)),
    "by a module": lambda: nn.Softmax()(card(3, 1)),
    "by C++": lambda: card(3).requires_grad_().exp().grad,
}


@pytest.mark.parametrize("call", WARNED.values(), ids=WARNED.keys())
def test_warnings_name_the_line_of_the_program(gpu: VirtualGPU, call) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, call.__code__.co_firstlineno)}


def test_warnings_of_the_program_itself_stay_where_they_are(gpu: VirtualGPU) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn_explicit("elsewhere", UserWarning, "elsewhere.py", 7)
    assert [(warning.filename, warning.lineno) for warning in caught] == [("elsewhere.py", 7)]
