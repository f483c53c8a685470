"""Modules that move keep their parameters, whatever hangs on them, as on a card."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


def test_a_graph_of_the_host_may_still_hold_the_weights(gpu: VirtualGPU) -> None:
    layer = nn.Linear(3, 3)
    weight, on_host = layer.weight, layer(torch.ones(2, 3))
    layer.cuda()
    assert layer.weight is weight and weight.is_cuda and not on_host.is_cuda
    layer(torch.ones(2, 3, device="cuda")).sum().backward()
    assert weight.grad is not None and weight.grad.is_cuda
    layer.half().cpu()
    assert layer.weight is weight and not weight.is_cuda and weight.dtype is torch.half and not weight.grad.is_cuda


def test_weak_references_and_attributes_stay(gpu: VirtualGPU) -> None:
    """Optimizers sort parameters by such marks (`_no_weight_decay`)."""
    layer = nn.Linear(3, 3)
    reference = weakref.ref(layer.weight)
    layer.weight.no_weight_decay = True
    layer.cuda()
    assert reference() is layer.weight and layer.weight.no_weight_decay


def test_hooks_stay(gpu: VirtualGPU) -> None:
    layer, seen = nn.Linear(3, 3), []
    layer.weight.register_hook(lambda grad: seen.append(grad.device.type))
    layer.weight.register_post_accumulate_grad_hook(lambda weight: seen.append("accumulated"))
    layer.cuda()
    layer(torch.ones(2, 3, device="cuda")).sum().backward()
    assert seen == ["cuda", "accumulated"]


def test_lazy_modules_are_made_on_the_card(gpu: VirtualGPU) -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2)).cuda()
    model(torch.ones(2, 3, 8, 8, device="cuda")).sum().backward()
    assert model[3].weight.shape == (2, 144) and all(weight.grad.is_cuda for weight in model.parameters())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("wrap", [
    nn.utils.weight_norm, nn.utils.spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm,
    parametrizations.orthogonal])
def test_normalised_weights_move_with_what_they_are_made_of(gpu: VirtualGPU, wrap) -> None:
    layer = wrap(nn.Linear(4, 4)).cuda()
    layer(torch.ones(2, 4, device="cuda")).sum().backward()
    assert layer.weight.is_cuda and all(weight.grad.is_cuda for weight in layer.parameters())


@pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")
def test_scripted_modules_move(gpu: VirtualGPU) -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())).cuda()
    assert all(tensor.is_cuda for tensor in model.state_dict().values())
    model(torch.ones(2, 4, device="cuda")).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()


def test_the_programs_own_swaps_are_pytorchs(gpu: VirtualGPU) -> None:
    first, second = torch.ones(3), torch.zeros(2, device="cuda")
    second.mark = "second"
    torch.utils.swap_tensors(first, second)
    assert first.is_cuda and first.shape == (2,) and first.mark == "second" and second.shape == (3,)
