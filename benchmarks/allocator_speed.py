"""How fast the simulated caching allocator is, and whether it still does what PyTorch's own did.

    python benchmarks/allocator_speed.py [--traces FOLDER]

FOLDER holds recordings (`_allocator_traces.py` says in which form): `seq_*.json` or `*.json.gz`, and training runs in
`train/`; by default those of the test suite. Every recording is first replayed with all columns compared; only then
are its allocations and frees timed, without the comparison, in processor time: the best of several rounds, because a
busy machine only ever adds.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from _allocator_traces import CARD_BYTES, read, sequence_difference, training_difference
from _results import write

from memdoctor.virtual.allocator import AllocatorOutOfMemory, Block, CachingAllocator

ROUNDS = 10
COMMITTED = Path(__file__).parent.parent / "tests" / "virtual" / "traces"

Operation = tuple[int, int | None, int]
"""Key, bytes and stream of an allocation; bytes are None for a free."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, default=COMMITTED)
    folder = parser.parse_args().traces
    files = sorted({*folder.glob("*.json.gz"), *folder.glob("seq_*.json"), *folder.glob("train/*.json")})
    recordings = [recording for path in files for recording in _as_list(read(path))]
    differences = [difference for recording in recordings if (difference := _difference(recording))]
    for difference in differences:
        print(difference, file=sys.stderr)
    if differences or not recordings:
        sys.exit(f"{len(differences)} of {len(recordings)} recordings differ")
    print(write("allocator_speed", {
        "recordings": len(recordings), "recordings_that_differ": 0, "operations_per_second": _speeds(recordings),
    }))


def _as_list(content: Any) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else [content]


def _difference(recording: dict[str, Any]) -> str:
    return training_difference(recording) if "events" in recording else sequence_difference(recording)


def _speeds(recordings: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """By kind of recording: operations in all, and per second."""
    by_kind: dict[str, list[tuple[dict[str, Any], list[Operation]]]] = defaultdict(list)
    for recording in recordings:
        operations = _plain_operations(recording)
        if operations:
            by_kind[_kind(recording)].append((recording, operations))
    return {
        kind: {
            "operations": sum(len(operations) for _, operations in members),
            "per_second": round(max(_operations_per_second(members) for _ in range(ROUNDS))),
        }
        for kind, members in by_kind.items()
    }


def _kind(recording: dict[str, Any]) -> str:
    if "events" in recording:
        return "training runs"
    return recording["conf"].partition(":")[0] or "default settings"


def _plain_operations(recording: dict[str, Any]) -> list[Operation]:
    """Allocations and frees; nothing of a recording that also uses private pools or record_stream."""
    operations = recording.get("events") or recording["ops"]
    if "ops" in recording and any(operation[0] not in "afe" for operation in operations):
        return []
    return [
        (operation[1], operation[2] if operation[0] == "a" else None, operation[3] if len(operation) > 3 else 0)
        for operation in operations if operation[0] in "af"
    ]


def _operations_per_second(members: list[tuple[dict[str, Any], list[Operation]]]) -> float:
    seconds = 0.0
    for recording, operations in members:
        allocator = CachingAllocator(
            recording.get("mem") or CARD_BYTES, conf=recording["conf"], fraction=recording.get("fraction") or None)
        gc.collect()
        start = time.process_time()
        _run(allocator, operations)
        seconds += time.process_time() - start
    return sum(len(operations) for _, operations in members) / seconds


def _run(allocator: CachingAllocator, operations: list[Operation]) -> None:
    blocks: dict[int, Block] = {}
    malloc, free = allocator.malloc, allocator.free
    for key, nbytes, stream in operations:
        if nbytes is None:
            block = blocks.pop(key, None)
            if block is not None:
                free(block)
            continue
        try:
            blocks[key] = malloc(nbytes, stream)
        except AllocatorOutOfMemory:
            pass


if __name__ == "__main__":
    main()
