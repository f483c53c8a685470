"""Which storages belong to a model, under which path, whatever the user's classes are like."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from memdoctor.sensing.models import Models, Role


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4)])


class Unhashable(nn.Linear):
    __hash__ = None  # type: ignore[assignment]  # as a class with __eq__ and no __hash__ has it


class Broken(nn.Linear):
    def named_modules(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # broken on purpose
        raise ValueError("mine")


def key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def test_weights_buffers_gradients_and_states_have_their_roles_and_paths() -> None:
    net, models = Net(), Models()
    weight = net.layers[0].weight
    optimizer = torch.optim.Adam(net.parameters())
    weight.sum().backward()
    optimizer.step()
    models.meet(net)
    models.meet_optimizer(optimizer)
    roles = models.roles()
    assert roles[key(weight)] == Role("parameters", "Net.layers.0")
    assert roles[key(weight.grad)] == Role("gradients", "Net.layers.0")
    assert roles[key(optimizer.state[weight]["exp_avg"])] == Role("optimizer state", "Net.layers.0")
    assert roles[key(net.layers[1].running_mean)] == Role("parameters", "Net.layers.1")


def test_bytes_are_counted_once_a_storage_in_blocks_of_512() -> None:
    """Two weights that share one storage of 64 bytes, and a gradient; nothing on another device."""
    net, models = nn.Module(), Models()
    net.first = nn.Parameter(torch.ones(16))
    net.second = nn.Parameter(net.first.detach())
    net.first.sum().backward()
    models.meet(net)
    assert models.role_bytes("cpu") == {"parameters": 512, "gradients": 512}
    assert models.role_bytes("cuda") == {}


def test_a_parameter_of_no_module_belongs_to_its_optimizer() -> None:
    parameter, models = nn.Parameter(torch.ones(4)), Models()
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    models.meet_optimizer(optimizer)
    assert models.roles() == {key(parameter): Role("parameters", "")}


def test_nothing_is_kept_alive_and_a_new_module_does_not_inherit_a_path() -> None:
    net, models = Net(), Models()
    models.meet(net)
    assert models.path_of(net.layers[1]) == "Net.layers.1"
    del net
    gc.collect()
    assert models.roles() == {}
    assert all(models.path_of(nn.Linear(1, 1)) is None for _ in range(100))


@pytest.mark.parametrize(
    "kind", [pytest.param(Unhashable, id="without a hash"), pytest.param(Broken, id="whose named_modules raises")]
)
def test_a_module_that_is_unlike_others_is_met_all_the_same(kind: type[nn.Linear]) -> None:
    model, models = kind(4, 4), Models()
    assert models.meet(model) == kind.__name__
    assert models.roles()[key(model.weight)].module == kind.__name__
