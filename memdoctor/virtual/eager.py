"""What has no meaning without kernels: `torch.compile` returns its argument, profiles of the card are empty."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from memdoctor.virtual.patches import Patches
from memdoctor.virtual.values import ReadLog


class _Ranges:
    """Stands for the libraries behind `torch.cuda.nvtx` and `torch.cuda.cudart()`: every call succeeds."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *args: 0


@contextlib.contextmanager
def _no_range(*args: Any, **kwargs: Any) -> Iterator[None]:
    yield


def patch_compilers(patches: Patches, reads: ReadLog) -> None:
    """Compiled code would allocate otherwise than eager code; which it is, `reads` says."""
    def compile(model: Any = None, **options: Any) -> Any:
        reads.note("torch.compile, run eagerly")
        return model if model is not None else lambda function: function

    def compile_module(module: torch.nn.Module, *args: Any, **options: Any) -> None:
        reads.note("torch.compile, run eagerly")

    patches.set(torch, "compile", compile)
    patches.set(torch.nn.Module, "compile", compile_module)
    patches.replace(torch.cuda.nvtx, "_nvtx", _Ranges())
    patches.replace(torch.cuda.nvtx, "range", _no_range)
    for module in (torch.cuda, torch.cuda.profiler):
        patches.replace(module, "cudart", _Ranges)
    patches.replace(torch.cuda.profiler, "check_error", lambda code: None)
    recording = torch.autograd.profiler.profile
    patches.set(recording, "__init__", _on_host(recording.__init__))


def _on_host(constructor: Callable[..., None]) -> Callable[..., None]:
    """A profile of CUDA's activity records the host's, and zero for the card; its events of CUDA cannot be recorded."""
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        constructor(self, *args, **{**options, "use_cpu": True})
        self.profiler_kind = torch._C._profiler.ProfilerState.KINETO
    return __init__
