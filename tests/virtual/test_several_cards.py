"""Two cards: what is on which, and the bytes of each.

The figures were recorded with PyTorch's own CUDA build (2.12.1) on two stub cards that compute nothing and reach each
other's memory. Each is (allocated, most allocated, reserved) of one card.
"""

from __future__ import annotations

import copy
import gc
import io

import pytest
import torch
from torch import nn
from torch.nn import functional

from memdoctor.foundation.errors import BadInput
from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

MIB = 2**20


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb", context_bytes=0, cudnn_workspace="none", devices=2) as cards:
        yield cards
        torch.cuda.set_device(0)


def figures() -> list[tuple[int, int, int]]:
    cuda = torch.cuda
    return [(cuda.memory_allocated(at), cuda.max_memory_allocated(at), cuda.memory_reserved(at)) for at in (0, 1)]


class Halves(nn.Module):
    """The first half on one card, the second on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 1024)).to("cuda:0")
        self.second = nn.Sequential(
            nn.Linear(1024, 2048), nn.LayerNorm(2048), nn.GELU(), nn.Linear(2048, 10)).to("cuda:1")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x.to("cuda:0")).to("cuda:1"))


def test_a_model_on_two_cards_trains(gpu: VirtualGPU) -> None:
    model = Halves()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    assert figures() == [(12595200, 12595200, 23068672), (8495616, 8495616, 23068672)]
    for _ in range(3):
        labels = torch.zeros(256, dtype=torch.long, device="cuda:1")
        loss = functional.cross_entropy(model(torch.randn(256, 512)), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert all(parameter.grad.device == parameter.device for parameter in model.parameters())
        optimizer.step()
        optimizer.zero_grad()
        assert figures() == [(54824960, 80015360, 85983232), (42528768, 59520000, 88080384)]
    assert all(state["exp_avg"].device == parameter.device for parameter, state in optimizer.state.items())


def test_the_same_with_autocast_and_a_scaler(gpu: VirtualGPU) -> None:
    model = Halves()
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cuda")
    for _ in range(2):
        with torch.autocast("cuda", torch.float16):
            loss = functional.cross_entropy(
                model(torch.randn(64, 512)), torch.zeros(64, dtype=torch.long, device="cuda:1"))
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert figures() == [(29634560, 44322816, 65011712), (25536512, 38354432, 67108864)]


def test_gradients_cross_back_over_every_kind_of_copy(gpu: VirtualGPU) -> None:
    first = nn.Parameter(torch.randn(1024, 512, device="cuda:0"))
    second = nn.Parameter(torch.randn(512, 256, device="cuda:1"))
    x = torch.randn(300, 1024, device="cuda:0")
    for most in ((23385600, 20455424), (25482752, 20979712)):
        hidden = (x @ first).to("cuda:1")
        out = torch.tanh(hidden @ second).to("cuda:0")
        scalar = out.sum() + (second * second).sum().to("cuda:0")
        buffer = torch.zeros(300, 256, device="cuda:1") + 0
        buffer[:, :].copy_(out)
        (scalar + buffer.sum().cuda(0)).backward()
        assert (first.grad.device.index, second.grad.device.index) == (0, 1)
        assert figures() == [(22770176, most[0], 44040192), (19009536, most[1], 25165824)]


def test_data_parallel_counts_replicas_and_reduces_onto_the_first(gpu: VirtualGPU) -> None:
    body = [nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.BatchNorm1d(512), nn.Linear(512, 10)]
    model = nn.DataParallel(nn.Sequential(*body).cuda(), device_ids=[0, 1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    seen = [figures()]
    for _ in range(2):
        x, labels = torch.randn(128, 512, device="cuda"), torch.zeros(128, dtype=torch.long, device="cuda")
        loss = functional.cross_entropy(model(x), labels)
        seen.append(figures())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(figures())
    assert all(parameter.grad.device.index == 0 for parameter in model.parameters())
    assert seen == [
        [(2130944, 2130944, 4194304), (0, 0, 0)],
        [(11317248, 11322368, 25165824), (11178496, 11181568, 23068672)],
        [(15166976, 17293824, 27262976), (8519680, 12772352, 25165824)],
        [(24089600, 24095232, 48234496), (19698176, 19701248, 25165824)],
        [(23686656, 27939840, 50331648), (17039360, 21292032, 25165824)],
    ]


def test_copies_between_cards(gpu: VirtualGPU) -> None:
    a = torch.randn(1000, 1000, device="cuda:0")
    b, c = a.to("cuda:1"), a.t().to("cuda:1")
    assert a.to("cuda:0") is a and b.cuda() is not b and b.cuda(1) is b
    half = a.to("cuda:1", torch.float16)
    target = torch.empty(1000, 1000, device="cuda:1")
    target.copy_(a.t())
    torch.empty(1000, 1000, dtype=torch.float16, device="cuda:0").copy_(target)
    strided = a[:, ::2].cuda(1)
    assert [tensor.get_device() for tensor in (a, b, c, half, target, strided)] == [0, 1, 1, 1, 1, 1]
    assert figures() == [(4000256, 8000512, 20971520), (16001536, 16001536, 20971520)]
    assert half.type_as(a).device == a.device == half.to(a).device
    assert torch.ones(3).to(half).dtype is torch.float16 and torch.ones(3).to(half).device == half.device


def test_new_tensors_follow_their_operands_or_the_current_card(gpu: VirtualGPU) -> None:
    other = torch.zeros(4, device="cuda:1")
    made = (
        torch.zeros_like(other), other.new_zeros(3), other.new_tensor([1.0]), other + 1, torch.cat([other, other]),
        other.bernoulli(), torch.stack([other]), other.clone(), copy.deepcopy(other), other[other > 0],
        torch.as_tensor(other), other.type("torch.cuda.HalfTensor"), nn.Linear(4, 1, device="cuda:1")(other),
        torch.zeros_like(torch.ones(3), device=other.device), torch.eye(3, device=1),
    )
    assert [tensor.device.index for tensor in made] == [1] * len(made)
    assert torch.zeros(3, device="cuda").get_device() == 0
    with torch.cuda.device(1):
        assert torch.zeros(3, device="cuda").get_device() == torch.ones(3).cuda().get_device() == 1
        assert torch.zeros(3, device="cuda:0").get_device() == 0
    with torch.device("cuda:1"):
        assert torch.zeros(3).get_device() == torch.tensor([1]).get_device() == nn.Linear(2, 2).weight.get_device() == 1
    with torch.cuda.device_of(other):
        assert torch.cuda.current_device() == 1
    torch.cuda.set_device("cuda:1")
    assert torch.rand(3, device="cuda").get_device() == torch.cuda.FloatTensor(3).get_device() == 1


def test_a_bool_mask_of_attention_belongs_to_the_card_of_its_operands(gpu: VirtualGPU) -> None:
    query = torch.randn(1, 2, 8, 16, device="cuda:1", requires_grad=True)
    mask = torch.ones(8, 8, dtype=torch.bool, device="cuda:1")
    torch.zeros(3, device="cuda:0")
    functional.scaled_dot_product_attention(query, query, query, mask).sum().backward()
    assert query.grad.get_device() == 1
    assert torch.cuda.max_memory_allocated(0) == 512


def test_the_cards_have_their_own_counters(gpu: VirtualGPU) -> None:
    kept = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda:1")
    assert [torch.cuda.memory_allocated(at) for at in (0, 1, "cuda:1", None)] == [0, 3 * MIB, 3 * MIB, 0]
    free, total = torch.cuda.mem_get_info(1)
    assert total - free == 20 * MIB and torch.cuda.mem_get_info(0)[0] == total
    torch.empty(MIB, dtype=torch.uint8, device="cuda:1")
    torch.cuda.reset_peak_memory_stats(0)
    assert torch.cuda.max_memory_allocated(1) == 4 * MIB
    torch.cuda.reset_peak_memory_stats("cuda:1")
    assert torch.cuda.max_memory_allocated(1) == 3 * MIB
    assert torch.cuda.memory_stats(1)["allocated_bytes.all.current"] == 3 * MIB
    assert "device ID 1" in torch.cuda.memory_summary(1)
    assert (gpu.ledger(1).tensors_bytes, gpu.ledger().tensors_bytes, gpu.allocated_bytes) == (3 * MIB, 0, 3 * MIB)
    assert (gpu.reading(1).index, gpu.reading(1).used_bytes, gpu.reading(0).used_bytes) == (1, 22 * MIB, 0)
    assert [segment["device"] for segment in gpu.snapshot()["segments"]] == [1, 1]
    assert len(gpu.snapshot()["device_traces"]) == torch.cuda.device_count() == gpu.devices == 2
    del kept
    torch.cuda.empty_cache()
    assert gpu.reserved_bytes == 0


def test_out_of_memory_names_the_card_that_is_full() -> None:
    with virtual_gpu("1GiB", devices=2):
        torch.empty(MIB, dtype=torch.uint8, device="cuda:0")
        with pytest.raises(torch.OutOfMemoryError, match="GPU 1 has a total capacity of 1024.00 MiB of which 1024"):
            torch.empty(2**31, dtype=torch.uint8, device="cuda:1")


def test_streams_belong_to_a_card(gpu: VirtualGPU) -> None:
    stream = torch.cuda.Stream(device=1)
    assert (stream.device.index, torch.cuda.current_stream(1).device.index) == (1, 1)
    with torch.cuda.stream(stream):
        assert torch.cuda.current_device() == 1 and torch.cuda.current_stream() == stream
        assert torch.cuda.current_stream(0) == torch.cuda.default_stream(0)
        kept = torch.empty(10**6, device="cuda")
    assert torch.cuda.current_device() == 0
    kept = kept, torch.empty(10**6, device="cuda:1")
    assert torch.cuda.memory_reserved(1) == 2 * 20 * MIB
    assert kept[0].get_device() == 1


MIXTURES = {
    "element by element": (lambda a, b: a + b, "found at least two devices, cuda:0 and cuda:1!"),
    "the other way round": (lambda a, b: b + a, "found at least two devices, cuda:1 and cuda:0!"),
    "scalar of a card": (lambda a, b: a + b.sum(), "found at least two devices, cuda:0 and cuda:1!"),
    "in place": (lambda a, b: a.add_(b), "found at least two devices, cuda:0 and cuda:1!"),
    "matrices": (lambda a, b: a @ b, "got mat2 is on cuda:1, different from other tensors on cuda:0 "),
    "list": (lambda a, b: torch.stack([a, b]), "got tensors is on cuda:1, different from other tensors on cuda:0 "),
    "host beside the second": (lambda a, b: b @ torch.ones(4, 4), "got mat2 is on cpu, different .* on cuda:1 "),
}


@pytest.mark.parametrize(("mix", "text"), MIXTURES.values(), ids=MIXTURES.keys())
def test_mixing_cards_raises_what_cuda_raises(gpu: VirtualGPU, mix, text: str) -> None:
    with pytest.raises(RuntimeError, match=f"Expected all tensors to be on the same device, but {text}"):
        mix(torch.ones(4, 4, device="cuda:0"), torch.ones(4, 4, device="cuda:1"))
    with pytest.raises(RuntimeError, match=r"indices should be either on cpu or .*\(cuda:0\)"):
        torch.ones(4, device="cuda:0")[torch.zeros(2, dtype=torch.long, device="cuda:1")]


ABSENT = {
    "factory": lambda: torch.zeros(3, device="cuda:2"),
    "move": lambda: torch.zeros(3).to("cuda:5"),
    "module": lambda: nn.Linear(2, 2).cuda(3),
    "set_device": lambda: torch.cuda.set_device(2),
    "device": lambda: torch.cuda.device(4).__enter__(),
    "mem_get_info": lambda: torch.cuda.mem_get_info(2),
    "synchronize": lambda: torch.cuda.synchronize(2),
    "stream": lambda: torch.cuda.Stream(device=2),
}


@pytest.mark.parametrize("call", ABSENT.values(), ids=ABSENT.keys())
def test_a_card_that_is_not_there_has_no_ordinal(gpu: VirtualGPU, call) -> None:
    with pytest.raises(RuntimeError, match="CUDA error: invalid device ordinal"):
        call()


def test_other_questions_about_absent_cards(gpu: VirtualGPU) -> None:
    for ask in (torch.cuda.memory_allocated, torch.cuda.memory_stats, torch.cuda.reset_peak_memory_stats):
        with pytest.raises(RuntimeError, match="Invalid device argument 2: did you call init"):
            ask(2)
    for ask in (torch.cuda.get_device_properties, torch.cuda.get_device_name):
        with pytest.raises(AssertionError, match="Invalid device id"):
            ask(2)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        torch.cuda.memory_allocated("cpu")
    with pytest.raises(RuntimeError, match=r"out of index range \[0, 2\)"):
        torch.cuda.current_stream(2)
    torch.cuda.set_device(-1)
    assert torch.cuda.current_device() == 0
    assert torch.cuda.can_device_access_peer(0, 1)


def test_files_remember_the_card(gpu: VirtualGPU) -> None:
    file = io.BytesIO()
    torch.save([torch.ones(3, device="cuda:1"), torch.ones(3, device="cuda:0")], file)
    wanted = {None: [1, 0], "cuda:0": [0, 0], "cuda:1": [1, 1]}
    for where, devices in wanted.items():
        file.seek(0)
        loaded = torch.load(file, map_location=where, weights_only=True)
        assert [tensor.get_device() for tensor in loaded] == devices
    file.seek(0)
    swapped = torch.load(file, map_location={"cuda:1": "cuda:0", "cuda:0": "cuda:1"}, weights_only=True)
    assert [tensor.get_device() for tensor in swapped] == [0, 1]


def test_lists_of_tensors_of_both_cards_run_one_by_one(gpu: VirtualGPU) -> None:
    tensors = [torch.ones(1000, device=f"cuda:{at % 2}") for at in range(4)]
    norms = torch._foreach_norm(tensors)
    assert [norm.get_device() for norm in norms] == [0, 1, 0, 1]
    torch._foreach_add_(tensors, 1.0)
    assert torch.cuda.memory_allocated(0) == torch.cuda.memory_allocated(1)


def test_cards_compute_where_values_are_real() -> None:
    with virtual_gpu("1GiB", devices=2, values="real"):
        first = torch.ones(3, 3, device="cuda:0", requires_grad=True)
        out = (first * 2).to("cuda:1") @ torch.full((3, 3), 3.0, device="cuda:1")
        out.sum().backward()
        assert out.cpu().tolist() == [[18.0] * 3] * 3
        assert first.grad.get_device() == 0 and first.grad.cpu().tolist() == [[18.0] * 3] * 3


def test_nothing_is_left_of_what_has_died(gpu: VirtualGPU) -> None:
    model = Halves()
    model(torch.randn(2, 512)).sum().backward()
    del model
    gc.collect()
    assert not gpu.storages
    assert all(torch.cuda.memory_allocated(at) % 8519680 == 0 for at in (0, 1))


def test_no_card_is_refused() -> None:
    with pytest.raises(BadInput, match="devices=0"), virtual_gpu(devices=0):
        pass
