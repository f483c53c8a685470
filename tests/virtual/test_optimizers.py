"""Every optimizer of torch.optim steps on the card, in the form it has by default there and in its others."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import virtual_gpu

NAMES = sorted(
    name for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer)
FORMS = {"default": {}, "list by list": {"foreach": True}, "one by one": {"foreach": False}, "fused": {"fused": True},
         "capturable": {"capturable": True}}


def settings_of(name: str, wanted: dict[str, bool]) -> dict[str, bool]:
    if not set(wanted) <= set(inspect.signature(getattr(torch.optim, name)).parameters):
        pytest.skip(f"{name} has no such form")
    return wanted


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_it_steps_and_its_state_can_be_loaded(name: str, form: str) -> None:
    settings = settings_of(name, FORMS[form])
    with virtual_gpu("a100-40gb"):
        model = nn.Embedding(5, 3, sparse=True) if name == "SparseAdam" else nn.Linear(3, 3, bias=name != "Muon")
        model.cuda()
        data = torch.tensor([0, 1]) if name == "SparseAdam" else torch.randn(2, 3)
        try:
            optimizer = getattr(torch.optim, name)(model.parameters(), **settings)
        except RuntimeError as error:
            assert "of supported devices" in str(error)
            pytest.skip(f"this PyTorch has no fused {name} for CUDA")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = model(data.cuda()).sum()
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)
        optimizer.load_state_dict(optimizer.state_dict())
        kept = [value for state in optimizer.state.values() for value in state.values()
                if isinstance(value, torch.Tensor) and value.dim()]
        assert all(value.is_cuda for value in kept)


def test_averaged_models_follow_their_model() -> None:
    averages = torch.optim.swa_utils
    with virtual_gpu("a100-40gb") as gpu:
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).cuda()
        before = gpu.live_bytes
        mean = averages.AveragedModel(model)
        own = sum(value.nbytes for value in model.state_dict().values())
        assert gpu.live_bytes - before == own
        moving = averages.AveragedModel(model, multi_avg_fn=averages.get_ema_multi_avg_fn(0.99))
        for _ in range(2):
            mean.update_parameters(model)
            moving.update_parameters(model)
        averages.update_bn([torch.randn(2, 4)], mean, device="cuda")
        assert all(weight.is_cuda for weight in (*mean.parameters(), *moving.parameters()))
