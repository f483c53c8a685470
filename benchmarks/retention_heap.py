"""What one search of a large heap costs: processor seconds and memory for 1 and 5 million objects of the user's.

    python benchmarks/retention_heap.py

A third of the objects are lists, a third records in dictionaries, a third instances of a class with a list. The tensors
that are looked for come last. Such a search is made only where survivors of several iterations have gathered; a probe
without growth stops at 200,000 objects, and its cost is measured beside.
"""

from __future__ import annotations

import resource
import time

import torch
from _results import write

from memdoctor.foundation.looks import Piece
from memdoctor.sensing.looker import _MAX_OBJECTS, _PROBE_OBJECTS
from memdoctor.sensing.owners import OwnerSearch, undisturbed
from memdoctor.sensing.roots import Root


class Sample:
    """One object, its dictionary, and a list."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.tags = [number]


def heap(objects: int, kept: list[torch.Tensor]) -> dict[str, object]:
    """About so many objects that the collector tracks."""
    third = objects // 3
    return {
        "lists": [[number] for number in range(third)],
        "records": [{"id": number, "tags": [number]} for number in range(third // 2)],
        "samples": [Sample(number) for number in range(third // 2)],
        "kept": kept,
    }


def search(objects: int, most: int) -> dict[str, object]:
    """Processor seconds of one search from the roots to the paths, and what it visited."""
    kept = [torch.zeros(3) for _ in range(10)]
    births = {tensor.untyped_storage()._cdata: birth for birth, tensor in enumerate(kept)}
    variables = heap(objects, kept)
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with undisturbed():
        began = time.thread_time()
        owners = OwnerSearch(lambda tensor, storage: births.get(storage._cdata), max_objects=most)
        owners.search([Root(Piece("global", "variables"), variables)])
        paths = owners.paths(lambda key: False)
        seconds = time.thread_time() - began
    gained_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before_bytes
    return {
        "visited": len(owners.seen),
        "tensors_found": len(paths),
        "processor_seconds": round(seconds, 2),
        "memory_gained_bytes": gained_bytes,
    }


def main() -> None:
    figures = {
        "1 million objects": search(1_000_000, _MAX_OBJECTS),
        "5 million objects": search(4_990_000, _MAX_OBJECTS),
        "a probe without growth": search(4_990_000, _PROBE_OBJECTS),
    }
    for name, figure in figures.items():
        print(f"{name:24} {figure}")
    print(write("retention_heap", figures))


if __name__ == "__main__":
    main()
