"""Warnings and tracebacks that a program prints itself read as on a card: they are about its own lines."""

from __future__ import annotations

import traceback
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import memdoctor
from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

OURS = str(Path(memdoctor.__file__).parent)


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


RAISED = {
    "shapes": lambda: card(3, 4) @ card(3, 4),
    "devices": lambda: nn.Linear(3, 3)(card(3)),
    "index": lambda: card(3)[5],
    "out of memory": lambda: torch.empty(10**12, device="cuda"),
    "backward": lambda: card(3).backward(),
}


@pytest.mark.parametrize("call", RAISED.values(), ids=RAISED.keys())
def test_tracebacks_show_one_frame_of_ours_at_most(gpu: VirtualGPU, call) -> None:
    try:
        call()
    except (RuntimeError, IndexError) as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert len([name for name in files if name.startswith(OURS)]) <= 1
    assert files[0] == __file__
