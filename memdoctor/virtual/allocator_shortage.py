"""Out of memory, with everything that PyTorch's message says; raised before any counter but `num_ooms` has changed."""

from __future__ import annotations

from dataclasses import dataclass

from memdoctor.foundation.units import MIB

_HINT = (
    "If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid"
    " fragmentation.  See documentation for Memory Management "
    " (https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)"
)


@dataclass
class AllocatorOutOfMemory(Exception):
    """`str()` of it is the text of `torch.OutOfMemoryError`; the fields are exact."""

    device: int
    """The number of the card."""
    size_bytes: int
    """The request, rounded to a block."""
    segment_bytes: int
    """What the driver was asked for; PyTorch reports this one."""
    free_bytes: int
    """What the driver still has."""
    allocated_bytes: int
    reserved_bytes: int
    private_bytes: int
    """Cached in private pools (CUDA graphs, `torch.cuda.MemPool`), where this allocation may not look."""
    capacity_bytes: int
    """What the driver could give at the start."""
    total_bytes: int
    """The whole card."""
    allowed_bytes: int | None
    """Limit by `set_per_process_memory_fraction`."""

    def __str__(self) -> str:
        in_use_bytes = self.allocated_bytes + self.private_bytes
        private = f"with {_size(self.private_bytes)} allocated in private pools (e.g., CUDA Graphs), "
        return (
            f"CUDA out of memory. Tried to allocate {_size(self.segment_bytes)}. GPU {self.device} has a total "
            f"capacity of {_size(self.total_bytes)} of which {_size(self.free_bytes)} is free. Including non-PyTorch "
            f"memory, this process has {_size(self.total_bytes - self.free_bytes)} memory in use. "
            + (f"{_size(self.allowed_bytes)} allowed; " if self.allowed_bytes is not None else "")
            + f"Of the allocated memory {_size(in_use_bytes)} is allocated by PyTorch, "
            + (private if self.private_bytes else "")
            + f"and {_size(self.reserved_bytes - in_use_bytes)} is reserved by PyTorch but unallocated. {_HINT}"
        )


def _size(count: int) -> str:
    """As PyTorch writes sizes in this message (`format_size`), so that tools that read the message find it."""
    if count <= 1024:
        return f"{count} bytes"
    if count <= MIB:
        return f"{count / 1024:.2f} KiB"
    if count <= 1024 * MIB:
        return f"{count / MIB:.2f} MiB"
    return f"{count / (1024 * MIB):.2f} GiB"
