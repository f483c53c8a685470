"""Host memory of the process."""

from __future__ import annotations

import psutil

from memdoctor.sensing.host import host_heap_bytes, resident_bytes


def test_the_heap_grows_with_what_is_kept() -> None:
    before = host_heap_bytes()
    kept = [bytearray(100_000) for _ in range(100)]
    assert host_heap_bytes() - before > 9_000_000
    del kept


def test_the_resident_set_is_that_of_this_process() -> None:
    assert abs(resident_bytes() - psutil.Process().memory_info().rss) < 2**24
