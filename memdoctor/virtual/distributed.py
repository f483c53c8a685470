"""Process groups of one process: every other rank is taken to hold what this one holds.

A build without CUDA has no NCCL, and gloo cannot read the card's tensors; one group in plain Python stands in for both.
`DistributedDataParallel`, FSDP and object collectives make their own buffers and see collectives that are done at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed

from memdoctor.virtual.patches import Patches

Tensors = Sequence[torch.Tensor]
_ProcessGroup: Any = getattr(distributed, "ProcessGroup", object)


def patch_process_groups(patches: Patches) -> None:
    """Nothing where this build of PyTorch has no `torch.distributed`."""
    if not distributed.is_available():
        return
    owner = importlib.import_module("torch.distributed.distributed_c10d")
    for name in ("ProcessGroupNCCL", "ProcessGroupGloo"):
        patches.set(owner, name, CardGroup)
    for module in (owner, distributed):
        for name in ("is_nccl_available", "is_gloo_available"):
            patches.replace(module, name, lambda: True)
    patches.set(owner, "default_pg_nccl_timeout", owner.default_pg_timeout)
    patches.replace(distributed, "_verify_params_across_processes", lambda *models: None)


def _done(result: Any = None) -> Any:
    future: Any = torch.futures.Future()
    future.set_result(result)
    bindings: Any = torch._C._distributed_c10d
    return bindings._create_work_from_future(future)


def _copy(targets: Tensors, sources: Tensors) -> None:
    """Below autograd, as the kernels of a library work."""
    with torch.no_grad():
        for target, source in zip(targets, sources):
            target.view(-1).copy_(source.reshape(-1))


class CardGroup(_ProcessGroup):  # type: ignore[misc]  # Any, because a build may lack it
    """Methods and their names are those that `torch.distributed` calls; each returns work that is done."""

    class Options:
        """`ProcessGroupNCCL.Options`: accepts every setting."""

        def __init__(self, **settings: Any) -> None: ...

    def __init__(self, store: Any, rank: int, size: int, *rest: Any, **options: Any) -> None:
        super().__init__(rank, size)
        self._options = self.Options()

    @property
    def options(self) -> Options:
        return self._options

    @property
    def group_name(self) -> str:
        world: Any = distributed.distributed_c10d._world
        return str(world.pg_names[self])

    def getBackendName(self) -> str:
        return "nccl"

    def _set_sequence_number_for_group(self) -> None: ...

    def _has_hooks(self) -> bool:
        return False

    def barrier(self, opts: Any = None) -> Any:
        return _done()

    def allreduce(self, tensors: Tensors, opts: Any = None) -> Any:
        return _done(tensors)

    allreduce_coalesced = broadcast = reduce = send = recv = allreduce

    def allgather(self, outputs: Sequence[Tensors], inputs: Tensors, opts: Any = None) -> Any:
        for gathered, tensor in zip(outputs, inputs):
            _copy(gathered, [tensor] * len(gathered))
        return _done(outputs)

    gather = allgather

    def all_gather_single(self, output: torch.Tensor, tensor: torch.Tensor, opts: Any = None) -> Any:
        return self.allgather([output.chunk(self.size())], [tensor])

    def all_gather_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Any:
        for output, tensor in zip(outputs, inputs):
            self.all_gather_single(output, tensor)
        return _done(outputs)

    def scatter(self, outputs: Tensors, inputs: Sequence[Tensors], opts: Any = None) -> Any:
        for output, parts in zip(outputs, inputs):
            _copy([output], [parts[self.rank()]])
        return _done(outputs)

    reduce_scatter = scatter

    def reduce_scatter_single(self, output: torch.Tensor, tensor: torch.Tensor, opts: Any = None) -> Any:
        return self.scatter([output], [tensor.chunk(self.size())])

    def reduce_scatter_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Any:
        for output, tensor in zip(outputs, inputs):
            self.reduce_scatter_single(output, tensor)
        return _done(outputs)

    def alltoall(self, outputs: Tensors, inputs: Tensors, opts: Any = None) -> Any:
        _copy(outputs, inputs)
        return _done(outputs)

    def all_to_all_single(self, output: torch.Tensor, tensor: torch.Tensor, *splits: Any) -> Any:
        return self.alltoall([output], [tensor])

    _allgather_base = all_gather_single
    _reduce_scatter_base = reduce_scatter_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single
