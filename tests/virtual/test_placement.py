"""Every way to say CUDA puts the tensor on the virtual card; everything else stays where it was."""

from __future__ import annotations

import copy
import io

import numpy
import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

WAYS = {
    "factory": lambda: torch.zeros(3, device="cuda"),
    "cuda()": lambda: torch.zeros(3).cuda(),
    "cuda(0)": lambda: torch.zeros(3).cuda(0),
    "to(str)": lambda: torch.zeros(3).to("cuda:0"),
    "to(device)": lambda: torch.zeros(3).to(torch.device("cuda")),
    "to(index)": lambda: torch.zeros(3).to(0),
    "to(device, dtype)": lambda: torch.zeros(3).to("cuda", torch.half),
    "to(device=, dtype=)": lambda: torch.zeros(3).to(device="cuda", dtype=torch.half),
    "to(other)": lambda: torch.zeros(3).to(torch.zeros(1, device="cuda")),
    "type(name)": lambda: torch.zeros(3).type("torch.cuda.FloatTensor"),
    "tensor": lambda: torch.tensor([1, 2], device="cuda"),
    "as_tensor": lambda: torch.as_tensor([1, 2], device="cuda"),
    "arange on an index": lambda: torch.arange(3, device=0),
    "like": lambda: torch.empty_like(torch.zeros(3), device="cuda"),
    "new_zeros": lambda: torch.zeros(3, device="cuda").new_zeros(3),
    "new_tensor": lambda: torch.zeros(3, device="cuda").new_tensor([1.0]),
    "generator": lambda: torch.randn(3, device="cuda", generator=torch.Generator(device="cuda")),
    "numpy": lambda: torch.from_numpy(numpy.zeros(3)).cuda(non_blocking=True),
    "pinned": lambda: torch.zeros(3).pin_memory().cuda(non_blocking=True),
    "module": lambda: nn.Linear(2, 2).to("cuda").weight,
    "module on device": lambda: nn.Linear(2, 2, device="cuda").weight,
    "buffer": lambda: nn.BatchNorm1d(2).cuda().running_mean,
    "deepcopy": lambda: copy.deepcopy(nn.Linear(2, 2).cuda()).weight,
}


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS.keys())
def test_every_way_to_say_cuda_lands_on_the_card(gpu: VirtualGPU, make) -> None:
    tensor = make()
    assert (tensor.is_cuda, str(tensor.device), tensor.get_device()) == (True, "cuda:0", 0)
    assert not tensor.is_meta
    assert tensor.untyped_storage()._cdata in gpu.storages


def test_device_contexts_are_heard(gpu: VirtualGPU) -> None:
    with torch.device("cuda"):
        assert torch.zeros(3).is_cuda
        assert torch.tensor([1.0]).is_cuda
        assert nn.Linear(2, 2).weight.is_cuda
    assert not torch.zeros(3).is_cuda


def test_the_default_device_is_heard_and_can_be_taken_back(gpu: VirtualGPU) -> None:
    torch.set_default_device("cuda")
    try:
        assert torch.zeros(3).is_cuda
    finally:
        torch.set_default_device(None)
    assert not torch.zeros(3).is_cuda


def test_host_tensors_take_nothing_on_the_card(gpu: VirtualGPU) -> None:
    assert torch.ones(1000).sum().item() == 1000
    assert gpu.birth_count == 0


def test_a_second_card_is_not_there(gpu: VirtualGPU) -> None:
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.zeros(3, device="cuda:1")


def test_the_users_own_meta_tensors_stay_meta_and_take_nothing(gpu: VirtualGPU) -> None:
    tensor = torch.empty(10**12, device="meta") + 1
    with torch.device("meta"):
        layer = nn.Linear(3, 3)
    assert (str(tensor.device), tensor.is_meta, tensor.is_cuda) == ("meta", True, False)
    assert layer.weight.is_meta and gpu.birth_count == 0
    assert layer.to_empty(device="cuda").weight.is_cuda
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        tensor.cuda()


def test_what_leaves_the_card_for_meta_takes_nothing_there(gpu: VirtualGPU) -> None:
    layer = nn.Linear(100, 100).cuda()
    before = torch.cuda.memory_allocated()
    skeleton = copy.deepcopy(layer).to("meta")
    moved = torch.ones(100, device="cuda").to("meta", torch.float16)
    assert (str(skeleton.weight.device), moved.dtype, str((moved + 1).device)) == ("meta", torch.float16, "meta")
    assert layer.weight.is_cuda and torch.cuda.memory_allocated() == before
    layer.to("meta")
    assert torch.cuda.memory_allocated() == before - 40_448 - 512


def test_what_pytorch_sorts_by_device_stays_on_the_card(gpu: VirtualGPU) -> None:
    weight = nn.Parameter(torch.ones(100, device="cuda"))
    weight.grad = torch.ones(100, device="cuda")
    assert torch.nn.utils.clip_grad_norm_([weight], 1.0).is_cuda
    assert (weight.grad * 2).is_cuda


def test_moving_a_model_keeps_ties_and_optimizers(gpu: VirtualGPU) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    optimizer = torch.optim.AdamW(model.parameters())
    model.cuda()
    model(torch.randn(2, 4, device="cuda")).sum().backward()
    optimizer.step()
    assert model[1].weight is model[0].weight
    assert all(parameter.is_cuda for group in optimizer.param_groups for parameter in group["params"])
    assert all(state["exp_avg"].is_cuda for state in optimizer.state.values())


@pytest.mark.parametrize(
    ("where", "device"),
    [("cuda", "cuda"), ("cuda:0", "cuda"), (torch.device("cuda"), "cuda"), (None, "cuda"), ("cpu", "cpu")],
    ids=str,
)
def test_a_file_remembers_the_card_and_load_follows_map_location(gpu: VirtualGPU, where, device: str) -> None:
    file = io.BytesIO()
    torch.save({"model": nn.Linear(4, 4).cuda().state_dict(), "step": torch.tensor([7], device="cuda")}, file)
    file.seek(0)
    loaded = torch.load(file, map_location=where, weights_only=True)
    assert loaded["model"]["weight"].device.type == device
    assert loaded["step"].item() == 7


MIXTURES = {
    "element by element": (lambda card, host: card + host, None, "cuda:0 and cpu"),
    "in place on the host": (lambda card, host: host.add_(card), None, "cuda:0 and cpu"),
    "loss": (lambda card, host: nn.functional.mse_loss(card, host), None, "cuda:0 and cpu"),
    "list": (lambda card, host: torch.cat([card, host]), "tensors", "cat"),
    "layer on the host": (lambda card, host: nn.Linear(3, 3)(card), "mat1", "addmm"),
    "input on the host": (lambda card, host: nn.Linear(3, 3).cuda()(host), "mat1", "addmm"),
    "without bias": (lambda card, host: nn.Linear(3, 3, bias=False).cuda()(host[None]), "mat2", "mm"),
    "norm": (lambda card, host: nn.LayerNorm(3)(card), "weight", "_native_layer_norm"),
    "target": (lambda card, host: nn.functional.cross_entropy(card[None], torch.tensor([1])), "target",
               "nll_loss_forward"),
    "embedding": (lambda card, host: nn.functional.embedding(torch.tensor([1]), card[None]), "index", "_index_select"),
}
"""An operator, and which argument of which kernel its error names; texts of PyTorch's CUDA build 2.12.1."""


@pytest.mark.parametrize(("mix", "argument", "kernel"), MIXTURES.values(), ids=MIXTURES.keys())
def test_mixing_devices_raises_what_cuda_raises(gpu: VirtualGPU, mix, argument: str | None, kernel: str) -> None:
    text = f"found at least two devices, {kernel}!" if argument is None else f"but got {argument} is on "
    with pytest.raises(RuntimeError, match=f"Expected all tensors to be on the same device, .*{text}") as raised:
        mix(torch.ones(3, device="cuda"), torch.ones(3))
    if argument is not None:
        assert str(raised.value).endswith(f"(when checking argument in method wrapper_CUDA_{kernel})")


def test_a_convolution_names_the_types_it_got(gpu: VirtualGPU) -> None:
    with pytest.raises(RuntimeError, match=r"Input type \(torch.cuda.FloatTensor\) and weight type \(torch.Float"):
        nn.Conv2d(1, 1, 1)(torch.zeros(1, 1, 4, 4, device="cuda"))


WRONG = {
    "matrix product": lambda x: x @ x,
    "sum": lambda x: x + torch.ones(5, device="cuda"),
    "layer norm": lambda x: nn.functional.layer_norm(x, (7,)),
    "loss": lambda x: nn.functional.mse_loss(x, torch.ones(5, 4, device="cuda")),
    "convolution": lambda x: nn.Conv2d(5, 1, 1).cuda()(x[None, None]),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(*[x[None, None]] * 2, x[None, None, :2]),
    "in place": lambda x: x.add_(torch.ones(5, device="cuda")),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
def test_wrong_shapes_raise_each_time(gpu: VirtualGPU, call) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError):
            call(torch.ones(3, 4, device="cuda"))


def test_host_scalars_and_host_indices_may_be_mixed_in(gpu: VirtualGPU) -> None:
    card = torch.ones(3, device="cuda")
    assert (card + torch.tensor(1.0)).is_cuda
    assert card[torch.tensor([0, 2])].shape == (2,)
    with pytest.raises(RuntimeError, match="indices should be either on cpu"):
        torch.ones(3)[torch.tensor([0], device="cuda")]


def test_numpy_refuses_tensors_of_the_card(gpu: VirtualGPU) -> None:
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        torch.ones(3, device="cuda").numpy()
    assert torch.ones(3, device="cuda").cpu().numpy().shape == (3,)
