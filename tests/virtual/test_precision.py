"""What a report may promise of a peak follows from what ran on the virtual card."""

from __future__ import annotations

import torch
from torch import nn

from memdoctor.virtual.gpu import virtual_gpu
from memdoctor.virtual.precision import CONVOLUTIONS, RECURRENT, precision


def test_without_cudnn_nearly_everything_is_exact() -> None:
    with virtual_gpu("t4") as gpu:
        nn.Linear(8, 8).cuda()(torch.ones(8, device="cuda"))
    assert gpu.precision == precision(set())


def test_convolutions_come_with_a_model_of_their_workspace() -> None:
    with virtual_gpu("t4") as gpu:
        nn.Conv2d(3, 8, 3).cuda()(torch.ones(1, 3, 8, 8, device="cuda"))
    assert gpu.precision == precision({CONVOLUTIONS}) != precision(set())


def test_the_least_certain_kind_decides() -> None:
    with virtual_gpu("t4") as gpu:
        nn.Conv2d(3, 8, 3).cuda()(torch.ones(1, 3, 8, 8, device="cuda"))
        nn.LSTM(8, 8).cuda()(torch.ones(2, 2, 8, device="cuda"))
    assert gpu.precision == precision({RECURRENT})
