"""Figures out of PyTorch's own texts; each is one that users have posted."""

from __future__ import annotations

import pytest

from memdoctor.analysis.refusals import crash_of
from memdoctor.foundation.units import GIB, KIB, MIB


def gib(size: float) -> int:
    return int(size * GIB)


TORCH_1_0 = (
    "CUDA out of memory. Tried to allocate 8.13 GiB (GPU 0; 10.76 GiB total capacity; 643.57 MiB already allocated; "
    "8.20 GiB free; 32.43 MiB cached)"
)
TORCH_1_10 = (
    "CUDA out of memory. Tried to allocate 64.00 MiB (GPU 0; 4.00 GiB total capacity; 3.35 GiB already allocated; "
    "0 bytes free; 3.41 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting "
    "max_split_size_mb to avoid fragmentation."
)
TORCH_2_1 = (
    "CUDA out of memory. Tried to allocate 80.00 MiB. GPU 0 has a total capacty of 79.15 GiB of which 63.25 MiB is "
    "free. Including non-PyTorch memory, this process has 79.08 GiB memory in use. Of the allocated memory 78.38 GiB "
    "is allocated by PyTorch, and 196.30 MiB is reserved by PyTorch but unallocated."
)
WITH_PROCESSES = (
    "CUDA out of memory. Tried to allocate 1.71 GiB. GPU 0 has a total capacity of 22.30 GiB of which 1.52 GiB is "
    "free. Process 29153 has 248.00 MiB memory in use. Process 162529 has 248.00 MiB memory in use. Of the allocated "
    "memory 19.55 GiB is allocated by PyTorch, and 244.94 MiB is reserved by PyTorch but unallocated."
)
ASYNC = (
    "Allocation on device 0 would exceed allowed memory. (out of memory)\nCurrently allocated     : 5.96 GiB\n"
    "Requested               : 12.50 MiB\nDevice limit            : 12.00 GiB\nFree (according to CUDA): 5.00 GiB\n"
)


@pytest.mark.parametrize(
    ("text", "request_bytes", "allocated_bytes", "reserved_bytes", "free_bytes", "total_bytes"),
    [
        pytest.param(
            TORCH_1_0, gib(8.13), int(643.57 * MIB), int(643.57 * MIB), gib(8.2), gib(10.76), id="torch 1.0: cached"
        ),
        pytest.param(TORCH_1_10, 64 * MIB, gib(3.35), gib(3.41), 0, 4 * GIB, id="torch 1.10: reserved in total"),
        pytest.param(
            TORCH_2_1, 80 * MIB, gib(78.38), gib(78.38) + int(196.3 * MIB), int(63.25 * MIB), gib(79.15), id="torch 2.1"
        ),
        pytest.param(ASYNC, int(12.5 * MIB), gib(5.96), gib(5.96), 5 * GIB, 12 * GIB, id="cudaMallocAsync"),
        pytest.param("CUDA error: out of memory", 0, 0, 0, 0, 0, id="no figures"),
    ],
)
def test_figures_are_read(
    text: str, request_bytes: int, allocated_bytes: int, reserved_bytes: int, free_bytes: int, total_bytes: int
) -> None:
    crash = crash_of(text)
    assert abs(crash.reserved_bytes - reserved_bytes) <= KIB
    assert (crash.request_bytes, crash.allocated_bytes) == (request_bytes, allocated_bytes)
    assert (crash.free_bytes, crash.total_bytes) == (free_bytes, total_bytes)


def test_other_processes_are_those_that_the_text_names() -> None:
    assert crash_of(WITH_PROCESSES).others_bytes == 2 * 248 * MIB


def test_without_names_they_are_what_is_neither_free_nor_this_processs() -> None:
    shared = TORCH_2_1.replace("this process has 79.08 GiB", "this process has 60.00 GiB")
    assert crash_of(shared).others_bytes == gib(79.15) - int(63.25 * MIB) - 60 * GIB
    assert crash_of(TORCH_2_1).others_bytes < 10 * MIB  # rounding of the text
    assert crash_of(TORCH_1_10).others_bytes == 0  # that version does not say
