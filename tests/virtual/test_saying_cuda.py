"""Older and rarer ways to name the card, and objects beside tensors that belong to it."""

from __future__ import annotations

import io
import pickle
import warnings

import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


WAYS = {
    "device number": lambda: torch.zeros(3, device=torch.device(0)),
    "device number of a module": lambda: nn.Linear(2, 2).to(0).weight,
    "current device": lambda: torch.zeros(3, device=torch.cuda.current_device()),
    "type": lambda: torch.cuda.FloatTensor(3),
    "type of data": lambda: torch.cuda.LongTensor([1, 2]),
    "data of a parameter": lambda: _moved_by_data(),
    "subclass": lambda: torch.zeros(3, device="cuda").as_subclass(_Image) + 1,
    "shared": lambda: torch.zeros(3, device="cuda").share_memory_(),
    "pickle": lambda: pickle.loads(pickle.dumps(torch.zeros(3, device="cuda"))),
    "copy=True": lambda: torch.zeros(3).to("cuda", copy=True),
    "fork_rng": lambda: _in_forked_randomness(),
    "data parallel": lambda: nn.DataParallel(nn.Linear(2, 2)).cuda()(torch.zeros(4, 2)),
}


class _Image(torch.Tensor):
    pass


def _moved_by_data() -> torch.Tensor:
    parameter = nn.Parameter(torch.zeros(3))
    parameter.data = parameter.data.cuda()
    assert isinstance(parameter, nn.Parameter) and parameter.requires_grad
    return parameter


def _in_forked_randomness() -> torch.Tensor:
    with torch.random.fork_rng(devices=[0]):
        return torch.randn(3, device="cuda")


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS.keys())
def test_rarer_ways_to_say_cuda_land_on_the_card(gpu: VirtualGPU, make) -> None:
    tensor = make()
    assert tensor.is_cuda and tensor.device == torch.device("cuda:0")
    assert tensor.untyped_storage()._cdata in gpu.storages


def test_types_of_the_card_know_their_instances(gpu: VirtualGPU) -> None:
    card = torch.zeros(3, device="cuda")
    assert isinstance(card, torch.cuda.FloatTensor)
    assert not isinstance(card, torch.cuda.LongTensor)
    assert not isinstance(torch.zeros(3), torch.cuda.FloatTensor)


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_the_default_tensor_type_can_be_the_cards_and_be_taken_back(gpu: VirtualGPU) -> None:
    try:
        torch.set_default_tensor_type("torch.cuda.HalfTensor")
        assert (torch.zeros(3).is_cuda, torch.zeros(3).dtype) == (True, torch.float16)
    finally:
        torch.set_default_tensor_type("torch.FloatTensor")
    assert (torch.zeros(3).is_cuda, torch.zeros(3).dtype) == (False, torch.float32)


def test_a_layer_with_an_explicit_none_follows_the_default_device(gpu: VirtualGPU) -> None:
    torch.set_default_device("cuda")
    try:
        assert nn.Linear(2, 2, device=None).weight.is_cuda
        assert not nn.Linear(2, 2, device="cpu").weight.is_cuda
    finally:
        torch.set_default_device(None)


def test_a_device_is_still_a_device(gpu: VirtualGPU) -> None:
    assert isinstance(torch.zeros(1).device, torch.device)
    assert not isinstance("cuda", torch.device)
    assert torch.device("cuda", 0) == torch.device(0) == torch.device(type="cuda", index=0)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.zeros(1, device=torch.device(1))


def test_a_stream_is_a_context_of_its_own(gpu: VirtualGPU) -> None:
    """Its blocks come from its own segments."""
    before = torch.cuda.current_stream()
    kept = torch.zeros(3, device="cuda")
    with torch.cuda.Stream() as stream:
        assert torch.cuda.current_stream() == stream
        kept = kept, torch.zeros(3, device="cuda")
    assert torch.cuda.current_stream() == before == torch.cuda.default_stream()
    assert gpu.reserved_bytes == 2 * 2 * 2**20


def test_statistics_come_flat_nested_and_as_text(gpu: VirtualGPU) -> None:
    kept = torch.zeros(3, device="cuda")
    assert torch.cuda.memory_stats()["allocated_bytes.all.current"] == 512
    nested = torch.cuda.memory.memory_stats_as_nested_dict()
    assert nested["allocated_bytes"]["all"]["current"] == 512 and nested["num_ooms"] == 0
    assert "PyTorch CUDA memory summary" in torch.cuda.memory_summary()
    assert kept.is_cuda


def test_blocks_follow_storages_that_are_resized(gpu: VirtualGPU) -> None:
    """As sharded training does between steps."""
    tensor = torch.zeros(1000, device="cuda")
    tensor.untyped_storage().resize_(0)
    assert gpu.allocated_bytes == 0
    tensor.untyped_storage().resize_(4000)
    assert gpu.allocated_bytes == 4096


def test_a_map_location_may_move_storages_itself(gpu: VirtualGPU) -> None:
    file = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, file)
    file.seek(0)
    assert torch.load(file, map_location=lambda storage, location: storage.cuda(0), weights_only=True)["weight"].is_cuda
    file.seek(0)
    assert not torch.load(file, map_location=lambda storage, location: storage, weights_only=True)["weight"].is_cuda


@pytest.mark.skipif(not hasattr(torch, "accelerator"), reason="this PyTorch has no torch.accelerator")
def test_the_accelerator_is_the_card(gpu: VirtualGPU) -> None:
    accelerator = torch.accelerator
    assert accelerator.current_accelerator() == torch.device("cuda")
    assert (accelerator.device_count(), accelerator.current_device_index()) == (1, 0)
    kept = torch.zeros(3, device=accelerator.current_accelerator())
    assert accelerator.memory_allocated() == kept.untyped_storage().nbytes() + 500
    if hasattr(accelerator, "device_index"):
        with accelerator.device_index(0):
            assert torch.zeros(3, device="cuda").is_cuda


def test_profiler_ranges_and_switches_do_nothing(gpu: VirtualGPU) -> None:
    with torch.cuda.nvtx.range("step"):
        torch.cuda.nvtx.mark("inside")
    torch.cuda.cudart().cudaProfilerStart()
    torch.cuda.profiler.start()
    torch.cuda.set_sync_debug_mode(1)
    assert torch.cuda.get_sync_debug_mode() == 0
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    end.record()
    torch.cuda.synchronize()
    assert start.elapsed_time(end) > 0


def test_compiled_models_run_eagerly_and_say_so(gpu: VirtualGPU) -> None:
    model = torch.compile(nn.Linear(2, 2).cuda(), mode="max-autotune")
    assert model(torch.zeros(1, 2, device="cuda")).is_cuda
    assert [read.what for read in gpu.value_reads] == ["torch.compile, run eagerly"]


def test_loaders_with_workers_deliver_host_tensors(gpu: VirtualGPU) -> None:
    data = torch.utils.data.TensorDataset(torch.arange(8.0))
    loader = torch.utils.data.DataLoader(data, 4, num_workers=1, pin_memory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking in a process with threads, which is Linux' way
        batches = [batch for (batch,) in loader]
    assert [batch.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert gpu.birth_count == 0
    assert batches[0].to("cuda", non_blocking=True).is_cuda
