"""The host's side of a run: what its processes take, and what their data loaders ask for.

Figures are of Linux (`/proc`, `/dev/shm`, control groups); elsewhere those that nobody tells are None.
"""

from __future__ import annotations

from dataclasses import dataclass

from memdoctor.foundation.locations import Location


@dataclass(frozen=True)
class WorkerReading:
    """One worker process of a data loader. Check by hand: `grep -E 'Private|Shared' /proc/PID/smaps_rollup`."""

    pid: int
    private_bytes: int
    """Its own pages."""
    shared_bytes: int
    """Pages that it still has in common with the process that it was forked from."""


@dataclass(frozen=True)
class HostReading:
    """The process tree at one iteration."""

    step: int
    processes: int
    """This one and all its descendants."""
    resident_bytes: int
    """Sum of their resident sets; pages that they share count several times."""
    proportional_bytes: int | None
    """Sum in which a page that n of them share counts 1/n. Check by hand: `Pss` of `/proc/PID/smaps_rollup`."""
    shm_used_bytes: int | None = None
    """Of `/dev/shm`, by whomever. Check by hand: `df /dev/shm`."""
    shm_total_bytes: int | None = None
    open_files: int | None = None
    """Of this process. Check by hand: `ls /proc/PID/fd | wc -l`."""
    open_files_limit: int | None = None
    """Check by hand: `ulimit -n`."""
    pinned_bytes: int | None = None
    """Page-locked memory that PyTorch holds for copies to the card; None where it does not count it."""
    workers: tuple[WorkerReading, ...] = ()


@dataclass(frozen=True)
class LoaderReading:
    """A data loader with worker processes, at its first batch."""

    workers: int
    prefetch_factor: int
    """Batches that each worker prepares ahead."""
    batch_bytes: int
    """Tensors of the first batch, which travels through shared memory."""
    location: Location | None
    """The user's line that asked for the batch."""
    shm_free_bytes: int | None
    """Of `/dev/shm` when the first batch had arrived."""
    memory_limit_bytes: int | None
    """What the machine or its control group allows."""
    objects: str = ""
    """The attribute of the data set that holds very many Python objects; empty if none does."""
    object_count: int = 0

    @property
    def queue_bytes(self) -> int:
        """What is prepared ahead once all workers are busy."""
        return self.workers * self.prefetch_factor * self.batch_bytes


@dataclass(frozen=True)
class CacheUse:
    """How hard PyTorch's cache of device memory was worked, over the whole run."""

    retries: int = 0
    """How often it had to be emptied to serve a request. Check by hand: `num_alloc_retries` of `memory_stats`."""
    empties: int = 0
    """Calls of `torch.cuda.empty_cache()`."""
    emptied_iterations: int = 0
    """Iterations with such a call."""
    returned_bytes: int = 0
    """What these calls gave back to the driver, all together."""
    seconds: float = 0.0
    """What they took on the host; 0 on a virtual card."""
    location: Location | None = None
    """The line of the first of them."""
