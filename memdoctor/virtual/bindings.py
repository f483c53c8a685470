"""Functions of C++ that a build of PyTorch without CUDA lacks, where `torch.cuda` calls them by name.

How to check: `tests/virtual/test_surface.py` calls every public function of `torch.cuda` and of what belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from memdoctor.virtual.allocator import Block
from memdoctor.virtual.kernels.matmul import cublas_workspace_bytes
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.patches import Patches

_CUDNN_VERSION = 92_000
"""cuDNN 9.20, with which PyTorch 2.12 is built."""
_HANDLE = 0x7F00_0000_0000
"""Of cuBLAS and cuSOLVER: an address that nobody reads."""


def patch_bindings(patches: Patches, ledgers: Sequence[Ledger], compute_capability: tuple[int, int]) -> None:
    """Nothing replaces what a build with CUDA has."""
    workspace_bytes = cublas_workspace_bytes(compute_capability)
    functions: dict[str, Callable[..., Any]] = {
        **_raw_allocations(ledgers),
        "_cuda_cudaCachingAllocator_is_enabled": lambda: True,
        "_cuda_cudaCachingAllocator_enable": lambda value: None,
        "_cuda_getCurrentBlasHandle": lambda: _HANDLE,
        "_cuda_getCurrentSolverHandle": lambda: _HANDLE,
        "_cuda_hostMemoryStats": dict,
        "_cuda_resetAccumulatedHostMemoryStats": lambda: None,
        "_cuda_resetPeakHostMemoryStats": lambda: None,
        "_cuda_getCublasWorkspaceSize": lambda: workspace_bytes,
        "_cuda_getCublasLtWorkspaceSize": lambda: workspace_bytes,
        "_cuda_setCublasWorkspaceSize": lambda size: None,
        "_cuda_setCublasLtWorkspaceSize": lambda size: None,
        "_cuda_get_cudnn_benchmark_limit": lambda: 10,
        "_cuda_set_cudnn_benchmark_limit": lambda limit: None,
        "_cuda_sleep": lambda cycles: None,
        "_cuda_emptyCache": torch.cuda.empty_cache,
        "_host_emptyCache": lambda: None,
    }
    for name, function in functions.items():
        patches.set(torch._C, name, function)
    patches.set(torch.backends.cudnn, "version", lambda: _CUDNN_VERSION)
    patches.set(torch.backends.cuda, "is_built", lambda: True)
    if torch.version.cuda is None:
        patches.set(torch.version, "cuda", "13.0")


def _raw_allocations(ledgers: Sequence[Ledger]) -> dict[str, Callable[..., Any]]:
    """Memory for other libraries, by its address."""
    held: dict[int, tuple[Ledger, Block]] = {}

    def allocate(nbytes: int, stream: int) -> int:
        ledger = ledgers[torch.cuda.current_device()]
        block = ledger.malloc(nbytes)
        held[block.address] = ledger, block
        return block.address

    def delete(address: int) -> None:
        ledger, block = held.pop(address)
        ledger.free(block)

    return {
        "_cuda_cudaCachingAllocator_raw_alloc": allocate,
        "_cuda_cudaCachingAllocator_raw_delete": delete,
    }


def driver_attributes(ledgers: Sequence[Ledger], taken_bytes: int) -> dict[str, Any]:
    """What `torch.cuda` asks the driver of a card: it is idle and cool, and this process alone is on it."""
    def used_bytes(device: Any = None) -> int:
        number = torch.cuda.current_device() if device is None else torch.cuda._utils._get_device_index(device)
        return taken_bytes + ledgers[number].settle().reserved_bytes

    def list_gpu_processes(device: Any = None) -> str:
        return f"GPU:{torch.cuda.current_device() if device is None else device}\nno processes are running"

    return {
        "device_memory_used": used_bytes,
        "list_gpu_processes": list_gpu_processes,
        "utilization": lambda device=None: 0,
        "memory_usage": lambda device=None: 0,
        "temperature": lambda device=None: 40,
        "power_draw": lambda device=None: 50_000,
        "clock_rate": lambda device=None: 1_000,
        "check_error": lambda code: None,
    }
