"""Recurrent layers without cuDNN have the shapes of those with it, and keep what the fused cells keep."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import virtual_gpu

STEPS, BATCH, WIDTH = 6, 4, 8


@pytest.fixture
def gpu():
    with virtual_gpu("h100-80gb") as card, torch.backends.cudnn.flags(enabled=False):
        yield card


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"bidirectional": True}, {"batch_first": True}, {"bias": False},
        {"num_layers": 2, "bidirectional": True, "dropout": 0.1},
    ],
    ids=str,
)
def test_shapes_are_those_of_the_host(gpu, kind: type[nn.RNNBase], options: dict[str, object]) -> None:
    on_host = kind(10, WIDTH, **options)(torch.zeros(STEPS, BATCH, 10))
    layer = kind(10, WIDTH, **options).cuda()
    out, last = layer(torch.zeros(STEPS, BATCH, 10, device="cuda"))
    assert out.shape == on_host[0].shape
    assert [part.shape for part in _parts(last)] == [part.shape for part in _parts(on_host[1])]
    out.sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in layer.parameters())


def _parts(state: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def test_a_projection_makes_the_outputs_narrower(gpu) -> None:
    out, (hidden, cell) = nn.LSTM(10, WIDTH, proj_size=3).cuda()(torch.zeros(STEPS, BATCH, 10, device="cuda"))
    assert (out.shape[-1], hidden.shape[-1], cell.shape[-1]) == (3, 3, WIDTH)


def test_a_gru_keeps_five_values_of_every_step_and_unit(gpu) -> None:
    """The workspace of the fused cell (`GRU_WORKSPACE_MULTIPLIER`)."""
    out = nn.GRU(10, WIDTH).cuda()(torch.zeros(STEPS, BATCH, 10, device="cuda"))[0]
    workspaces = [record for record in gpu.storages.values() if record.nbytes == 4 * BATCH * 5 * WIDTH]
    assert len(workspaces) == STEPS
    assert out.requires_grad
    del out, workspaces
