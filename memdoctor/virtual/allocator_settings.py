"""The text of PYTORCH_ALLOC_CONF, read as PyTorch reads it, and what it says about sizes.

Rules, limits and names are those of torch 2.12 and 2.13 (`c10/core/AllocatorConfig.h`,
`c10/cuda/CUDAAllocatorConfig.h`); a text that they refuse is refused here.
Settings that PyTorch takes from the same text but that do not change what is allocated on the card (pinned memory,
locks) are accepted and forgotten; those that would change it and are not simulated are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.units import MIB

BLOCK_BYTES = 512
"""Every block is a multiple of this (kMinBlockSize)."""
SMALL_BYTES = MIB
"""The largest rounded size that the small pool serves (kSmallSize)."""
SMALL_SEGMENT_BYTES = 2 * MIB
"""What the small pool asks of the driver (kSmallBuffer), and the unit of every other request (kRoundLarge)."""
LARGE_ALLOCATION_BYTES = 10 * MIB
"""From here on an allocation gets a segment of its own size (kMinLargeAlloc)."""
UNLIMITED = 2**63 - 1

_ROUNDUP_INTERVALS = 16
"""One number of divisions for each power of two from 1 MiB; the last one also holds for everything larger."""


@dataclass(frozen=True)
class AllocatorSettings:
    """What the text sets, with PyTorch's defaults for the rest."""

    max_split_bytes: int = UNLIMITED
    max_non_split_rounding_bytes: int = 20 * MIB
    large_segment_bytes: int = 20 * MIB
    roundup_divisions: tuple[int, ...] = (0,) * _ROUNDUP_INTERVALS
    garbage_collection_threshold: float = 0.0
    expandable_segments: bool = False
    memory_fraction: float = 1.0

    def round_size(self, nbytes: int) -> int:
        """Size of the block that a request needs: a multiple of 512, or the next division of its power of two."""
        divisions = self._divisions(nbytes)
        if divisions > 1 and nbytes > BLOCK_BYTES * divisions:
            step = (1 << nbytes.bit_length() - 1) // divisions
            return -(-nbytes // step) * step
        return max(BLOCK_BYTES, -(-nbytes // BLOCK_BYTES) * BLOCK_BYTES)

    def segment_size(self, size_bytes: int) -> int:
        """What cudaMalloc is asked for when no cached block can hold a block of `size_bytes`."""
        if size_bytes <= SMALL_BYTES:
            return SMALL_SEGMENT_BYTES
        if size_bytes < LARGE_ALLOCATION_BYTES:
            return self.large_segment_bytes
        return -(-size_bytes // SMALL_SEGMENT_BYTES) * SMALL_SEGMENT_BYTES

    def wastes_oversize(self, block_bytes: int, size_bytes: int) -> bool:
        """Whether `max_split_size_mb` keeps this request from that cached block, which could not be split."""
        if size_bytes < self.max_split_bytes:
            return block_bytes >= self.max_split_bytes
        return block_bytes >= size_bytes + self.max_non_split_rounding_bytes

    def _divisions(self, nbytes: int) -> int:
        interval = nbytes.bit_length() - MIB.bit_length()
        return self.roundup_divisions[min(max(interval, 0), _ROUNDUP_INTERVALS - 1)]


def parse_settings(text: str) -> AllocatorSettings:
    """Read `key:value,key:[value,value]`; of a key that is named twice the last value counts.

    Raises `BadInput` where PyTorch would refuse to start, and for settings that are not simulated.
    """
    fields: dict[str, Any] = {}
    for key, value in _pairs(text):
        if key in _NOT_SIMULATED and value not in _HARMLESS:
            raise _refusal(f"{key}:{value}", "is not simulated", "Leave it out.")
        if key in _READERS:
            field, read = _READERS[key]
            fields[field] = read(key, value)
        elif key not in _WITHOUT_EFFECT and key not in _NOT_SIMULATED:
            raise _refusal(key, "is not an allocator setting", f"Known are: {', '.join(sorted(_READERS))}.")
    return AllocatorSettings(**fields)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Keys and values; a value may be a list in brackets. Spaces do not count."""
    rest = re.sub(r"\s", "", text)
    while rest:
        match = re.match(r"([^,:\[\]]+):(\[[^\]]*\]|[^,:\[\]]+)(?:,|$)", rest)
        if match is None:
            raise _refusal(rest, "is not a list of settings", "Write key:value,key:value.")
        yield match[1], match[2]
        rest = rest[match.end():]


def _refusal(found: str, why: str, next_step: str) -> BadInput:
    return BadInput(f"{found!r} {why}, in PYTORCH_ALLOC_CONF.", next_step)


def _megabytes_from(least: int) -> Callable[[str, str], int]:
    def read(key: str, value: str) -> int:
        if not value.isdigit() or int(value) < least:
            raise _refusal(f"{key}:{value}", "is too small or no whole number", f"Write at least {least} (MiB).")
        return int(value) * MIB
    return read


def _flag(key: str, value: str) -> bool:
    if value not in ("True", "False"):
        raise _refusal(f"{key}:{value}", "is neither True nor False", "Mind the capital letter.")
    return value == "True"


def _fraction(key: str, value: str) -> float:
    if not re.fullmatch(r"\d*\.?\d+|\d+\.", value) or float(value) > 1:
        raise _refusal(f"{key}:{value}", "is no fraction", "Write a number between 0 and 1.")
    return float(value)


def _threshold(key: str, value: str) -> float:
    threshold = _fraction(key, value)
    if not 0 < threshold < 1:
        raise _refusal(f"{key}:{value}", "is no threshold", "Write a number above 0 and below 1.")
    return threshold


def _power_of_two(key: str, value: str, *, or_zero: bool = False) -> int:
    number = int(value) if value.isdigit() else -1
    if number < 0 or number & (number - 1) or (number == 0 and not or_zero):
        raise _refusal(f"{key}:{value}", "is not a power of two", "Write 1, 2, 4, 8, ...")
    return number


def _divisions(key: str, value: str) -> tuple[int, ...]:
    """One number for all sizes, or `[256:1,512:2,>:4]`: for sizes from 256 MiB, from 512 MiB, and above."""
    if not value.startswith("["):
        return (_power_of_two(key, value),) * _ROUNDUP_INTERVALS
    divisions = [0] * _ROUNDUP_INTERVALS
    last = None
    for entry in filter(None, value[1:-1].split(",")):
        start, _, number_text = entry.partition(":")
        number = _power_of_two(key, number_text, or_zero=True)
        if start == ">":
            above = 1 if last is None else last + 1
            divisions[above:] = [number] * (_ROUNDUP_INTERVALS - above)
            continue
        interval = min(_power_of_two(key, start).bit_length() - 1, _ROUNDUP_INTERVALS - 1)
        if last is None:  # the first interval that is named also holds for everything below it
            divisions[:interval] = [number] * interval
        divisions[interval] = number
        last = interval
    return tuple(divisions)


_READERS: dict[str, tuple[str, Callable[[str, str], object]]] = {
    "max_split_size_mb": ("max_split_bytes", _megabytes_from(20)),
    "max_non_split_rounding_mb": ("max_non_split_rounding_bytes", _megabytes_from(20)),
    "large_segment_size_mb": ("large_segment_bytes", _megabytes_from(11)),
    "roundup_power2_divisions": ("roundup_divisions", _divisions),
    "garbage_collection_threshold": ("garbage_collection_threshold", _threshold),
    "expandable_segments": ("expandable_segments", _flag),
    "per_process_memory_fraction": ("memory_fraction", _fraction),
}

_WITHOUT_EFFECT = frozenset({
    "release_lock_on_cudamalloc", "release_lock_on_hipmalloc", "graph_capture_record_stream_reuse",
    "pinned_use_cuda_host_register", "pinned_use_hip_host_register", "pinned_num_register_threads",
    "pinned_reserve_segment_size_mb", "pinned_use_background_threads", "pinned_max_round_threshold_mb",
    "pinned_max_cached_size_mb", "pinned_free_catch_all",
})

_NOT_SIMULATED = frozenset({"backend", "throw_on_cudamalloc_oom"})
_HARMLESS = frozenset({"native", "False"})
