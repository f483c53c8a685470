"""What the card says of itself: a reading, the ledger, and the snapshot that PyTorch's own tools read."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.cuda import _memory_viz

from memdoctor.virtual import timeline
from memdoctor.virtual.gpu import virtual_gpu

GIB, MIB = 2**30, 2**20


def test_the_ledger_sums_to_the_card() -> None:
    with virtual_gpu("a100-40gb", capacity_bytes=8 * GIB, context_bytes=GIB, other_bytes=2 * GIB) as gpu:
        kept = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda")
        ledger, reading = gpu.ledger(), gpu.reading()
        assert torch.cuda.mem_get_info() == (5 * GIB - 20 * MIB, 8 * GIB)
    assert (ledger.tensors_bytes, ledger.cached_bytes) == (3 * MIB, 17 * MIB)
    assert (ledger.context_bytes, ledger.others_bytes) == (GIB, 2 * GIB)
    assert ledger.free_bytes == 5 * GIB - 20 * MIB
    assert (reading.used_bytes, reading.total_bytes) == (3 * GIB + 20 * MIB, 8 * GIB)
    assert kept.shape == (3 * MIB,)


def test_other_processes_leave_less_for_this_one() -> None:
    with virtual_gpu("4GiB", other_bytes=3 * GIB):
        with pytest.raises(torch.OutOfMemoryError, match="4.00 GiB of which 1024.00 MiB is free"):
            torch.empty(2 * GIB, dtype=torch.uint8, device="cuda")


def test_memory_viz_reads_the_snapshot(tmp_path) -> None:
    """The file that the program dumps is the same as that of the card's own method."""
    path = tmp_path / "snapshot.pickle"
    with virtual_gpu("1GiB") as gpu:
        torch.cuda.memory._record_memory_history(max_entries=100)
        kept = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda")
        torch.empty(100, device="cuda")
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(GIB, dtype=torch.uint8, device="cuda")
        torch.cuda.memory._dump_snapshot(str(path))
        assert gpu.snapshot()["segments"] == torch.cuda.memory._snapshot()["segments"]
        torch.cuda.memory._record_memory_history(enabled=None)
        assert gpu.snapshot()["device_traces"] == [[]]
    found = pickle.loads(path.read_bytes())
    events = [(event["action"], event["size"]) for event in found["device_traces"][0]]
    assert events == [
        ("alloc", 3 * MIB), ("alloc", 512), ("free_requested", 512), ("free_completed", 512), ("oom", GIB)]
    assert found["device_traces"][0][0]["frames"][0]["filename"] == __file__
    for view in (_memory_viz.segsum, _memory_viz.trace, _memory_viz.trace_plot, _memory_viz.segment_plot):
        assert view(found)
    assert kept.shape == (3 * MIB,)


def test_history_keeps_the_newest_events() -> None:
    with virtual_gpu("1GiB") as gpu:
        torch.cuda.memory._record_memory_history(max_entries=3)
        for _ in range(5):
            torch.empty(1, device="cuda")
        (events,) = gpu.snapshot()["device_traces"]
    assert [event["action"] for event in events] == ["alloc", "free_requested", "free_completed"]


def test_the_timeline_has_a_reading_for_each_optimizer_step() -> None:
    with virtual_gpu("1GiB") as gpu:
        weight = torch.nn.Parameter(torch.zeros(1000, device="cuda"))
        optimizer = torch.optim.Adam([weight])
        kept = []
        for _ in range(3):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
            kept.append(torch.zeros(1000, device="cuda"))
        readings = gpu.timeline().readings
        assert [reading.allocated_bytes for reading in readings] == [4 * 4096 + size for size in (0, 4096, 8192)]
        assert readings[-1].peak_bytes == torch.cuda.max_memory_allocated() and readings[-1].host_bytes > 0
    optimizer.step()
    assert gpu.timeline().iterations == 3


def test_a_long_programs_timeline_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "_MOST", 10)
    with virtual_gpu("1GiB") as gpu:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, device="cuda"))])
        for _ in range(200):
            optimizer.step()
        assert gpu.timeline().iterations == 200 and len(gpu.timeline().readings) < 20
