"""The caching allocator against recordings of PyTorch's own, and against what must hold for any program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._allocator_traces import read, sequence_difference, training_difference
from memdoctor.foundation.errors import BadInput
from memdoctor.virtual.allocator import AllocatorOutOfMemory, Block, CachingAllocator
from memdoctor.virtual.allocator_settings import AllocatorSettings, parse_settings

MIB = 2**20
TRACES = Path(__file__).parent / "traces"


def recordings(pattern: str) -> list[Any]:
    return [
        pytest.param(recording, id=f"{path.name.split('.')[0]}-{number}")
        for path in sorted(TRACES.glob(pattern)) for number, recording in enumerate(read(path))
    ]


@pytest.mark.parametrize("sequence", recordings("[!t]*.json.gz"))
def test_every_operation_leaves_what_pytorch_left(sequence: dict[str, Any]) -> None:
    assert sequence_difference(sequence) == ""


@pytest.mark.parametrize("run", recordings("training.json.gz"))
def test_training_runs_have_the_recorded_peaks(run: dict[str, Any]) -> None:
    assert training_difference(run) == ""


def test_a_replay_that_parts_from_the_recording_is_noticed() -> None:
    (sequence, *_) = read(TRACES / "default.json.gz")
    sequence["rows"][40][2] += 512
    assert sequence_difference(sequence).startswith("operation 40 ")


# -- by hand -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("nbytes", "block_bytes", "segment_bytes"), [
    pytest.param(1, 512, 2 * MIB, id="the smallest block is 512 bytes"),
    pytest.param(513, 1024, 2 * MIB, id="blocks are multiples of 512 bytes"),
    pytest.param(MIB, MIB, 2 * MIB, id="1 MiB is still small"),
    pytest.param(MIB + 1, MIB + 512, 20 * MIB, id="above 1 MiB a segment of 20 MiB is split"),
    pytest.param(10 * MIB, 10 * MIB, 10 * MIB, id="from 10 MiB on the segment fits"),
    pytest.param(19 * MIB, 20 * MIB, 20 * MIB, id="a rest of 1 MiB stays with the block and counts as allocated"),
    pytest.param(19 * MIB - 512, 19 * MIB - 512, 20 * MIB, id="a rest of more than 1 MiB is split off"),
])
def test_sizes(nbytes: int, block_bytes: int, segment_bytes: int) -> None:
    allocator = CachingAllocator(2**30)
    block = allocator.malloc(nbytes)
    assert (block.size_bytes, block.requested_bytes) == (block_bytes, nbytes)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (block_bytes, segment_bytes)


def test_nothing_asked_is_nothing_taken() -> None:
    allocator = CachingAllocator(2**30)
    block = allocator.malloc(0)
    allocator.free(block)
    allocator.free(block)
    assert block.size_bytes == 0
    assert not any(allocator.stats()[f"{name}.all.allocated"] for name in ("allocation", "reserved_bytes", "segment"))


def test_a_freed_block_serves_its_own_stream_only() -> None:
    allocator = CachingAllocator(2**30)
    first = allocator.malloc(5 * MIB, stream=0)
    address = first.address
    allocator.free(first)
    other = allocator.malloc(5 * MIB, stream=7)
    assert other.address != address
    assert allocator.malloc(5 * MIB, stream=0).address == address


def test_a_block_that_another_stream_uses_is_active_until_the_next_allocation() -> None:
    allocator = CachingAllocator(2**30)
    block = allocator.malloc(512)
    allocator.record_stream(block, 3)
    allocator.free(block)
    assert allocator.stats()["allocated_bytes.all.current"] == 0
    assert allocator.stats()["active_bytes.all.current"] == 512
    allocator.malloc(512)
    assert allocator.stats()["active_bytes.all.current"] == 512


def test_its_own_stream_does_not_hold_a_block_back() -> None:
    allocator = CachingAllocator(2**30)
    block = allocator.malloc(512, stream=3)
    allocator.record_stream(block, 3)
    allocator.free(block)
    assert allocator.stats()["active_bytes.all.current"] == 0


def test_out_of_memory_says_what_pytorch_says_and_leaves_the_allocator_usable() -> None:
    allocator = CachingAllocator(100 * MIB, total_bytes=110 * MIB)
    kept = allocator.malloc(60 * MIB)
    with pytest.raises(AllocatorOutOfMemory) as raised:
        allocator.malloc(50 * MIB + 1)
    shortage = raised.value
    assert (shortage.size_bytes, shortage.segment_bytes) == (50 * MIB + 512, 52 * MIB)
    assert (shortage.free_bytes, shortage.allocated_bytes, shortage.reserved_bytes) == (40 * MIB, 60 * MIB, 60 * MIB)
    assert str(shortage).startswith(
        "CUDA out of memory. Tried to allocate 52.00 MiB. GPU 0 has a total capacity of 110.00 MiB of which 40.00 MiB"
        " is free. Including non-PyTorch memory, this process has 70.00 MiB memory in use. Of the allocated memory"
        " 60.00 MiB is allocated by PyTorch, and 0 bytes is reserved by PyTorch but unallocated. If reserved but"
    )
    allocator.free(kept)
    assert allocator.malloc(100 * MIB).size_bytes == 100 * MIB
    stats = allocator.stats()
    assert (stats["num_ooms"], stats["num_alloc_retries"]) == (1, 2)


def test_a_full_card_gets_its_cached_segments_back_before_an_allocation_fails() -> None:
    allocator = CachingAllocator(100 * MIB)
    allocator.free(allocator.malloc(60 * MIB))
    assert allocator.malloc(80 * MIB).size_bytes == 80 * MIB
    assert allocator.reserved_bytes == allocator.max_reserved_bytes == 80 * MIB


@pytest.mark.parametrize(("conf", "fraction"), [("", 0.5), ("per_process_memory_fraction:0.5", None)])
def test_the_fraction_is_of_the_whole_card(conf: str, fraction: float | None) -> None:
    allocator = CachingAllocator(90 * MIB, conf=conf, fraction=fraction, total_bytes=120 * MIB)
    allocator.malloc(60 * MIB)
    with pytest.raises(AllocatorOutOfMemory, match="60.00 MiB allowed; "):
        allocator.malloc(1)


def test_a_double_free_is_refused() -> None:
    allocator = CachingAllocator(2**30)
    block = allocator.malloc(512)
    allocator.free(block)
    with pytest.raises(ValueError, match="freed before"):
        allocator.free(block)


def test_peaks_start_again_from_what_is_there() -> None:
    allocator = CachingAllocator(2**30)
    kept = allocator.malloc(2 * MIB)
    allocator.free(allocator.malloc(30 * MIB))
    allocator.reset_peak()
    assert (allocator.max_allocated_bytes, allocator.max_reserved_bytes) == (kept.size_bytes, 50 * MIB)
    assert allocator.stats()["requested_bytes.all.peak"] == 2 * MIB


def test_a_snapshot_has_the_form_of_pytorchs() -> None:
    allocator = CachingAllocator(2**30)
    block = allocator.malloc(1000, stream=4)
    (segment,) = allocator.snapshot()
    free_blocks = {"address": block.address + 1024, "size": 2 * MIB - 1024, "requested_size": 0, "state": "inactive"}
    assert segment == {
        "device": 0, "address": block.address, "total_size": 2 * MIB, "allocated_size": 1024, "active_size": 1024,
        "requested_size": 1000, "stream": 4, "segment_type": "small", "segment_pool_id": (0, 0),
        "is_expandable": False,
        "blocks": [
            {"address": block.address, "size": 1024, "requested_size": 1000, "state": "active_allocated"}, free_blocks,
        ],
    }


# -- settings ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "settings"), [
    pytest.param("", AllocatorSettings(), id="nothing set"),
    pytest.param(" expandable_segments : True ,", AllocatorSettings(expandable_segments=True), id="spaces, last comma"),
    pytest.param("max_split_size_mb:30,max_split_size_mb:40", AllocatorSettings(max_split_bytes=40 * MIB), id="last"),
    pytest.param("pinned_use_background_threads:True,backend:native", AllocatorSettings(), id="without effect"),
    pytest.param("roundup_power2_divisions:4", AllocatorSettings(roundup_divisions=(4,) * 16), id="one for all"),
    pytest.param("roundup_power2_divisions:[2:8,8:4,>:1]",
                 AllocatorSettings(roundup_divisions=(8, 8, 0, 4, *(1,) * 12)), id="first fills below, > fills above"),
])
def test_settings_are_read_as_pytorch_reads_them(text: str, settings: AllocatorSettings) -> None:
    assert parse_settings(text) == settings


@pytest.mark.parametrize("text", [
    pytest.param("expandable_segments:true", id="capital letter"),
    pytest.param("expandable_segment:True", id="unknown key"),
    pytest.param("max_split_size_mb", id="no value"),
    pytest.param("max_split_size_mb:19", id="below the least"),
    pytest.param("large_segment_size_mb:10", id="not above 10 MiB"),
    pytest.param("garbage_collection_threshold:1.0", id="threshold not below 1"),
    pytest.param("roundup_power2_divisions:3", id="no power of two"),
    pytest.param("roundup_power2_divisions:[3:4]", id="interval no power of two"),
    pytest.param("roundup_power2_divisions:[256:2", id="no closing bracket"),
    pytest.param("per_process_memory_fraction:1.5", id="fraction above 1"),
    pytest.param("backend:cudaMallocAsync", id="another allocator"),
])
def test_settings_that_pytorch_refuses_or_that_are_not_simulated_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="PYTORCH_ALLOC_CONF"):
        parse_settings(text)


# -- what holds for any program ----------------------------------------------------------------------------------------

CONFS = ["", "expandable_segments:True", "max_split_size_mb:20", "garbage_collection_threshold:0.5",
         "roundup_power2_divisions:4"]
SIZES = st.one_of(st.integers(1, 2 * MIB), st.integers(MIB, 40 * MIB))
STEPS = st.lists(st.tuples(st.sampled_from("aaaffer"), SIZES, st.integers(0, 2)), max_size=60)


def run_program(allocator: CachingAllocator, steps: list[tuple[str, int, int]]) -> list[Block]:
    """Blocks in use at the end; the number of a step says what to take and which block to give back."""
    blocks: list[Block] = []
    for verb, number, stream in steps:
        if verb == "a":
            try:
                blocks.append(allocator.malloc(number, stream))
            except AllocatorOutOfMemory:
                pass
        elif verb == "e":
            allocator.empty_cache()
        elif blocks and verb == "r":
            allocator.record_stream(blocks[number % len(blocks)], stream)
        elif blocks:
            allocator.free(blocks.pop(number % len(blocks)))
        assert_consistent(allocator, blocks)
    return blocks


def assert_consistent(allocator: CachingAllocator, blocks: list[Block]) -> None:
    """Bytes add up, blocks tile their segments, no two blocks in use overlap, neighbours that are free have merged."""
    segments: list[Any] = allocator.snapshot()
    stats = allocator.stats()
    assert sum(block.size_bytes for block in blocks) == allocator.allocated_bytes
    assert sum(segment["total_size"] for segment in segments) == allocator.reserved_bytes
    assert sum(segment["active_size"] for segment in segments) == stats["active_bytes.all.current"]
    in_use = {part["address"] for s in segments for part in s["blocks"] if part["state"] == "active_allocated"}
    assert in_use == {block.address for block in blocks} and len(in_use) == len(blocks)
    for segment in segments:
        address = segment["address"]
        for part, following in zip(segment["blocks"], [*segment["blocks"][1:], None]):
            assert part["address"] == address
            address += part["size"]
            assert following is None or not part["state"] == following["state"] == "inactive"
        assert address == segment["address"] + segment["total_size"]


@pytest.mark.parametrize("conf", CONFS)
@given(steps=STEPS)
def test_bytes_are_conserved_and_blocks_never_overlap(conf: str, steps: list[tuple[str, int, int]]) -> None:
    run_program(CachingAllocator(150 * MIB, conf=conf, fraction=0.9), steps)


@pytest.mark.parametrize("conf", CONFS)
@given(steps=STEPS)
def test_freeing_everything_gives_everything_back(conf: str, steps: list[tuple[str, int, int]]) -> None:
    allocator = CachingAllocator(150 * MIB, conf=conf, fraction=0.9)
    for block in run_program(allocator, steps):
        allocator.free(block)
    allocator.empty_cache()
    assert allocator.snapshot() == []
    assert allocator.free_bytes == 150 * MIB
    assert {name: value for name, value in allocator.stats().items() if name.endswith("current") and value} == {}


@given(sizes=st.lists(st.integers(1, 2 * MIB), min_size=1, max_size=20), order=st.randoms(use_true_random=False))
def test_merging_undoes_splitting_in_any_order(sizes: list[int], order: Any) -> None:
    allocator = CachingAllocator(2**30)
    blocks = [allocator.malloc(size) for size in sizes]
    before = {segment["address"]: segment["total_size"] for segment in allocator.snapshot()}
    order.shuffle(blocks)
    for block in blocks:
        allocator.free(block)
    assert all(len(segment["blocks"]) == 1 for segment in allocator.snapshot())
    assert {segment["address"]: segment["total_size"] for segment in allocator.snapshot()} == before
