"""Replays recordings of PyTorch's own CUDA caching allocator on the simulated one and says where they part.

A *sequence* is a list of operations and, for each, what the real allocator answered:

    ["a", id, bytes(, stream)]   allocate          ["r", id, stream]   record_stream
    ["f", id]                    free              ["e"(, owner)]      empty_cache, of all or of one private pool
    ["hold"|"open"|"close"|"release", owner]       the private pool of a CUDA graph or a MemPool

    row: [operation, or "oom", or "skip" for the free of an allocation that had failed,
          allocated, reserved, segments, active, inactive_split,
          index of the segment, offset in it, bytes of the block (-1 for other operations than "a"),
          events [SA|SF|SM|SU|OOM, bytes]: segment allocated, freed, mapped, unmapped, out of memory]

A row of None was not recorded. `final` lists the segments at the end, `stats` is `torch.cuda.memory_stats()` then.

A *training run* is a list of events, ["a", id, bytes], ["f", id] and the same segment events, with ["ITER", n] where
iteration n starts, and the peaks of each iteration.
"""

from __future__ import annotations

import gzip
import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

from memdoctor.virtual.allocator import AllocatorOutOfMemory, Block, CachingAllocator

CARD_BYTES = 84_929_347_584
"""The recorder's card where a recording names no other."""

COLUMNS = (
    "operation", "allocated", "reserved", "segments", "active", "inactive_split",
    "segment", "offset", "block", "events",
)

_ACTIONS = {"segment_alloc": "SA", "segment_free": "SF", "segment_map": "SM", "segment_unmap": "SU", "oom": "OOM"}
_CURRENT = ("allocated_bytes", "reserved_bytes", "segment", "active_bytes", "inactive_split_bytes")


def read(path: Path) -> Any:
    """The recordings in one file, packed or not."""
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def sequence_difference(sequence: dict[str, Any]) -> str:
    """The first operation whose row differs, or what differs at the end; empty when all is equal."""
    replay = Replay(sequence)
    for number, (operation, expected) in enumerate(zip(sequence["ops"], sequence["rows"])):
        found = replay.row(operation, want_row=expected is not None)
        if expected is not None and found != expected:
            cells = zip(COLUMNS, found, expected)
            unequal = [f"{column} {got} instead of {want}" for column, got, want in cells if got != want]
            return f"operation {number} {operation}: {', '.join(unequal)}"
    return replay.difference_at_the_end(sequence)


class Replay:
    """One sequence on one allocator."""

    def __init__(self, recording: dict[str, Any]) -> None:
        self.allocator = CachingAllocator(
            recording["mem"] or CARD_BYTES, conf=recording["conf"], fraction=recording["fraction"] or None)
        self._blocks: dict[int, Block] = {}
        self._events = self.allocator.record_events()
        self._segments: dict[int, int] = {}

    def row(self, operation: list[Any], *, want_row: bool) -> list[Any]:
        """Do the operation and describe the allocator after it, in the recorder's columns."""
        outcome, block = self._do(operation)
        if not want_row:
            return []
        events = [[_ACTIONS[action], nbytes] for action, _, nbytes in self._events]
        for action, address, _ in self._events:
            if action in ("segment_alloc", "segment_map"):
                self._segments.setdefault(address, len(self._segments))
        self._events.clear()
        stats = self.allocator.stats()
        return [outcome, *(stats[f"{name}.all.current"] for name in _CURRENT), *self._place(block), events]

    def _do(self, operation: list[Any]) -> tuple[str, Block | None]:
        verb, *arguments = operation
        if verb == "a":
            return self._allocate(*arguments)
        if verb == "f":
            block = self._blocks.pop(arguments[0], None)
            if block is None:
                return "skip", None
            self.allocator.free(block)
        elif verb == "r":
            self.allocator.record_stream(self._blocks[arguments[0]], arguments[1])
        elif verb == "e":
            self.allocator.empty_cache(*arguments)
        else:
            getattr(self.allocator, f"{verb}_pool")(*arguments)
        return verb, None

    def _allocate(self, key: int, nbytes: int, stream: int = 0) -> tuple[str, Block | None]:
        try:
            block = self._blocks[key] = self.allocator.malloc(nbytes, stream)
        except AllocatorOutOfMemory:
            return "oom", None
        return "a", block

    def _place(self, block: Block | None) -> tuple[int, int, int]:
        """Segment, offset and size; a segment is here what the snapshot shows as one."""
        if block is None:
            return -1, -1, -1
        start = max(s["address"] for s in self.allocator.snapshot() if s["address"] <= block.address)
        segment = self._segments.setdefault(start, len(self._segments))
        return segment, block.address - start, block.size_bytes

    def difference_at_the_end(self, sequence: dict[str, Any]) -> str:
        """What the final segments, or any of the counters and peaks that were recorded, have different."""
        stats = self.allocator.stats()
        expected = sequence.get("stats") or {
            "allocated_bytes.all.peak": sequence["max_allocated"],
            "reserved_bytes.all.peak": sequence["max_reserved"],
            "num_alloc_retries": sequence["num_alloc_retries"],
            "num_ooms": sequence["num_ooms"],
        }
        for name, value in expected.items():
            if stats.get(name) != value:
                return f"at the end: {name} {stats.get(name)} instead of {value}"
        for number, (found, wanted) in enumerate(zip_longest(self._final_segments(), sequence["final"])):
            if found != wanted:
                return f"at the end: segment {number} {found} instead of {wanted}"
        return ""

    def _final_segments(self) -> list[Any]:
        return [
            [
                self._segments.get(segment["address"], -2), segment["total_size"], segment["segment_type"],
                segment["stream"] != 0, [[block["size"], block["state"][:8]] for block in segment["blocks"]],
            ]
            for segment in self.allocator.snapshot()
        ]


def training_difference(run: dict[str, Any]) -> str:
    """The first iteration whose peaks or ends differ, or what the driver was asked for; empty when all is equal."""
    allocator = CachingAllocator(CARD_BYTES, conf=run["conf"])
    exchanges = allocator.record_events()
    blocks: dict[int, Block] = {}
    expected_exchanges: list[list[Any]] = []
    for verb, *arguments in run["events"]:
        if verb == "a":
            blocks[arguments[0]] = allocator.malloc(arguments[1])
        elif verb == "f":
            allocator.free(blocks.pop(arguments[0]))
        elif verb == "ITER":
            if arguments[0] and (unequal := _iteration_difference(allocator, run["iters"][arguments[0] - 1])):
                return f"iteration {arguments[0] - 1}: {unequal}"
            allocator.reset_peak()
        else:
            expected_exchanges.append([verb, *arguments])
    found = [[_ACTIONS[action], nbytes] for action, _, nbytes in exchanges]
    return "" if found == expected_exchanges else f"exchanges with the driver {found} instead of {expected_exchanges}"


def _iteration_difference(allocator: CachingAllocator, expected: dict[str, int]) -> str:
    found = {
        "max_allocated": allocator.max_allocated_bytes, "max_reserved": allocator.max_reserved_bytes,
        "end_allocated": allocator.allocated_bytes, "end_reserved": allocator.reserved_bytes,
    }
    return ", ".join(f"{k} {v} instead of {expected[k]}" for k, v in found.items() if v != expected[k])
