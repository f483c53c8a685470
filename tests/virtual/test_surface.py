"""Every public function of `torch.cuda` and what belongs to it can be called: none says that there is no CUDA."""

from __future__ import annotations

import importlib
import inspect

import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

MIB = 2**20
MODULES = (
    "torch.cuda", "torch.cuda.memory", "torch.cuda.random", "torch.cuda.nvtx", "torch.cuda.amp", "torch.cuda.profiler",
    "torch.cuda.graphs", "torch.cuda.comm", "torch.backends.cuda", "torch.backends.cudnn", "torch.accelerator",
)


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


def _matrix() -> torch.Tensor:
    return torch.ones(4, 4, device="cuda", dtype=torch.float16)


def _attention() -> object:
    query = torch.ones(1, 1, 8, 64, device="cuda", dtype=torch.float16)
    return _parameters(query)


def _parameters(query: torch.Tensor) -> object:
    """Until torch 2.5 there was no grouped attention to be said of."""
    operands = (query, query, query, None, 0.0, False)
    try:
        return torch.backends.cuda.SDPAParams(*operands, False)
    except TypeError:
        return torch.backends.cuda.SDPAParams(*operands)


ARGUMENTS = {
    **dict.fromkeys(("set_device", "device", "set_device_index", "set_device_idx", "device_index"), lambda: (0,)),
    **dict.fromkeys(("set_stream", "StreamContext"), lambda: (torch.cuda.Stream(),)),
    **dict.fromkeys(("manual_seed", "manual_seed_all", "check_error", "set_sync_debug_mode"), lambda: (0,)),
    **dict.fromkeys(("range_push", "mark", "range", "range_start"), lambda: ("step",)),
    **dict.fromkeys(("custom_fwd", "custom_bwd"), lambda: (print,)),
    **dict.fromkeys(
        ("can_use_flash_attention", "can_use_efficient_attention", "can_use_cudnn_attention"), lambda: (_attention(),)),
    **dict.fromkeys(("enable_flash_sdp", "enable_mem_efficient_sdp", "enable_math_sdp", "enable_cudnn_sdp",
                     "caching_allocator_enable"), lambda: (True,)),
    **dict.fromkeys(("ExternalStream", "get_stream_from_external"), lambda: (0,)),
    "allow_fp16_bf16_reduction_math_sdp": lambda: (False,),
    "broadcast": lambda: (_matrix(), [0]),
    "broadcast_coalesced": lambda: ([_matrix()], [0]),
    "caching_allocator_alloc": lambda: (1024,),
    "can_device_access_peer": lambda: (0, 0),
    "device_of": lambda: (_matrix(),),
    "gather": lambda: ([_matrix()], 0, 0),
    "is_acceptable": lambda: (_matrix(),),
    "range_end": lambda: (1,),
    "reduce_add": lambda: ([_matrix()], 0),
    "reduce_add_coalesced": lambda: ([[_matrix()]], 0),
    "scatter": lambda: (_matrix(), [0]),
    "set_per_process_memory_fraction": lambda: (1.0,),
    "set_rng_state": lambda: (torch.cuda.get_rng_state(),),
    "set_rng_state_all": lambda: (torch.cuda.get_rng_state_all(),),
    "stream": lambda: (None,),
    "use_mem_pool": lambda: (torch.cuda.MemPool(),),
}
ELSEWHERE = {
    "cudaStatus", "cudart", "cuFFTPlanCache", "cuFFTPlanCacheAttrContextProp", "cuFFTPlanCacheManager",
    "caching_allocator_delete", "graph", "make_graphed_callables", "CUDAPluggableAllocator", "change_current_allocator",
    "compile_kernel", "import_common_memory", "BFloat16Tensor", "SDPAParams",
}
"""Called by a test below, of no use alone, or tied to a library of the user's own (allocators, CUDA source text)."""


def _callables() -> list[str]:
    found = []
    for module_name in MODULES:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError:  # of another version of torch
            continue
        public = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
        for name in sorted(set(public) - ELSEWHERE - ({"init"} if module_name == "torch.cuda.profiler" else set())):
            thing = getattr(module, name, None)
            is_torchs = str(getattr(thing, "__module__", "torch")).startswith("torch")
            is_error = inspect.isclass(thing) and issubclass(thing, BaseException)
            if callable(thing) and is_torchs and not is_error:
                found.append(f"{module_name}:{name}")
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", _callables())
def test_it_can_be_called(gpu: VirtualGPU, place: str) -> None:
    module, name = place.split(":")
    function = getattr(importlib.import_module(module), name)
    result = function(*ARGUMENTS.get(name, tuple)())
    if hasattr(result, "__enter__") and not isinstance(result, torch.Event):
        with result:
            pass
    torch.cuda.set_stream(torch.cuda.default_stream())


def test_a_cuda_graph_is_captured_into_a_private_pool(gpu: VirtualGPU) -> None:
    weight = torch.ones(1024, 1024, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        assert torch.cuda.is_current_stream_capturing()
        out = weight @ weight
    assert not torch.cuda.is_current_stream_capturing()
    owners = {segment["segment_pool_id"] for segment in gpu.snapshot()["segments"]}
    assert graph.pool() in owners
    before = torch.cuda.memory_allocated()
    graph.replay()
    assert torch.cuda.memory_allocated() == before and out.is_cuda
    assert "replay of a CUDA graph" in [read.what for read in gpu.value_reads]
    del out
    graph.reset()
    torch.cuda.empty_cache()


def test_graphed_callables_train(gpu: VirtualGPU) -> None:
    model = nn.Linear(4, 4).cuda()
    graphed = torch.cuda.make_graphed_callables(model, (torch.ones(2, 4, device="cuda"),))
    graphed(torch.ones(2, 4, device="cuda")).sum().backward()
    assert model.weight.grad.is_cuda


@pytest.mark.skipif(not hasattr(torch.cuda, "MemPool"), reason="this PyTorch has no memory pools")
def test_a_memory_pool_keeps_its_segments_apart(gpu: VirtualGPU) -> None:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        kept = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda")
    assert [segment["total_size"] for segment in pool.snapshot()] == [20 * MIB]
    assert kept.is_cuda and torch.cuda.memory_reserved() == before + 20 * MIB
    del kept, pool
    assert torch.cuda.memory_reserved() == before


def test_raw_allocations_are_counted(gpu: VirtualGPU) -> None:
    before = torch.cuda.memory_allocated()
    address = torch.cuda.caching_allocator_alloc(1000)
    assert torch.cuda.memory_allocated() == before + 1024
    torch.cuda.caching_allocator_delete(address)
    assert torch.cuda.memory_allocated() == before


def test_versions_are_numbers_that_programs_compare(gpu: VirtualGPU) -> None:
    assert torch.backends.cudnn.version() >= 8000 and torch.backends.cuda.is_built()
    assert int(torch.version.cuda.split(".")[0]) >= 11
    assert torch.cuda.list_gpu_processes() == "GPU:0\nno processes are running"
    if hasattr(torch.cuda, "device_memory_used"):
        assert torch.cuda.device_memory_used() == gpu.reading().used_bytes


def test_a_lazy_layer_moves_to_the_card_before_it_has_a_shape(gpu: VirtualGPU) -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(3, 5, device="cuda")).sum().backward()
    optimizer.step()
    assert model[0].weight.shape == (8, 5) and model[0].weight.is_cuda and model[0].weight.grad.is_cuda


def test_tensors_are_shown_to_other_libraries(gpu: VirtualGPU) -> None:
    tensor = torch.ones(2, 3, device="cuda")
    interface = tensor.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"]) == ((2, 3), "<f4")
    assert interface["data"] == (tensor.data_ptr(), False)
    assert not hasattr(torch.ones(2), "__cuda_array_interface__")
    assert tensor.__dlpack_device__() == (2, 0) and torch.from_dlpack(tensor).data_ptr() == tensor.data_ptr()
    assert torch.from_dlpack(torch.ones(2)).tolist() == [1, 1]
    with pytest.raises(BufferError, match="torch.from_dlpack"):
        tensor.__dlpack__()


def test_storages_are_made_on_the_card(gpu: VirtualGPU) -> None:
    storage = torch.UntypedStorage(1000, device="cuda")
    assert storage.is_cuda and storage.get_device() == 0 and storage._cdata in gpu.storages
    assert not torch.UntypedStorage(10).is_cuda


@pytest.mark.skipif(not hasattr(torch, "jagged"), reason="this PyTorch has no jagged tensors")
def test_jagged_tensors_lie_on_the_card(gpu: VirtualGPU) -> None:
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 3)], layout=torch.jagged, device="cuda")
    before = torch.cuda.memory_allocated()
    doubled = nested * 2
    assert doubled.is_cuda and torch.cuda.memory_allocated() - before == 512
