"""The host's side of a run in one sentence: processes and their memory, shared and pinned memory, open files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memdoctor.foundation.host import HostReading, LoaderReading
from memdoctor.foundation.units import format_bytes


def host_line(readings: Sequence[HostReading], loaders: Sequence[LoaderReading]) -> str:
    """Of the reading at which the processes took most, and of the loader that prepares most ahead."""
    largest = max(loaders, key=lambda loader: loader.queue_bytes, default=None)
    ahead = [_ahead(largest)] if largest is not None else []
    return "; ".join([*_parts(max(readings, key=_size_bytes)), *ahead])


def _ahead(loader: LoaderReading) -> str:
    each = format_bytes(loader.batch_bytes)
    workers = "1 worker" if loader.workers == 1 else f"{loader.workers} workers"
    product = f"{workers} x {loader.prefetch_factor} batches x {each}"
    return f"prepared ahead {product} = {format_bytes(loader.queue_bytes)}"


def _parts(most: HostReading) -> Iterator[str]:
    counted = "" if most.proportional_bytes is not None else ", shared pages counted several times"
    yield f"{most.processes} processes, {format_bytes(_size_bytes(most))}{counted}"
    if most.shm_used_bytes and most.shm_total_bytes:
        yield f"/dev/shm {format_bytes(most.shm_used_bytes)} of {format_bytes(most.shm_total_bytes)}"
    if most.pinned_bytes:
        yield f"pinned {format_bytes(most.pinned_bytes)}"
    if most.open_files is not None:
        yield f"{most.open_files:,} open files"


def _size_bytes(reading: HostReading) -> int:
    return reading.proportional_bytes or reading.resident_bytes
