"""Segments with their blocks as plain data, in the form of `torch.cuda.memory._snapshot()["segments"]`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from memdoctor.virtual.allocator_blocks import Block, Segment


def snapshot(segments: Iterable[Segment], waiting: Container[Block], device: int) -> list[dict[str, Any]]:
    """One dict per segment, by address; an expandable segment appears once for each range of it that has memory."""
    ranges = [mapped for segment in segments for mapped in _mapped_ranges(segment)]
    return [_as_segment(blocks, waiting, device) for blocks in sorted(ranges, key=lambda blocks: blocks[0].address)]


def _mapped_ranges(segment: Segment) -> Iterator[list[Block]]:
    mapped: list[Block] = []
    for block in segment:
        if block.is_mapped:
            mapped.append(block)
        elif mapped:
            yield mapped
            mapped = []
    if mapped:
        yield mapped


def _as_segment(blocks: list[Block], waiting: Container[Block], device: int) -> dict[str, Any]:
    segment = blocks[0].segment
    pool = segment.free_blocks.pool
    active = [block for block in blocks if not block.is_free]
    return {
        "device": device,
        "address": blocks[0].address,
        "total_size": sum(block.size_bytes for block in blocks),
        "allocated_size": sum(block.size_bytes for block in active if block not in waiting),
        "active_size": sum(block.size_bytes for block in active),
        "requested_size": sum(block.requested_bytes for block in active),
        "stream": segment.free_blocks.stream,
        "segment_type": "small" if pool.is_small else "large",
        "segment_pool_id": pool.owner,
        "is_expandable": segment.is_expandable,
        "blocks": [_as_block(block, waiting) for block in blocks],
    }


def _as_block(block: Block, waiting: Container[Block]) -> dict[str, Any]:
    state = "inactive" if block.is_free else "active_pending_free" if block in waiting else "active_allocated"
    return {
        "address": block.address, "size": block.size_bytes, "requested_size": block.requested_bytes, "state": state,
    }
