"""Calls of `empty_cache` are counted with what they give back; the function is the program's own again afterwards."""

from __future__ import annotations

from dataclasses import replace

import torch

from memdoctor.foundation.host import CacheUse
from memdoctor.sensing.cache_calls import CacheCalls
from memdoctor.virtual.gpu import virtual_gpu


def test_calls_are_counted_by_iteration_with_the_bytes_that_the_driver_got() -> None:
    """A tensor of 20 MiB and more has a segment of its own."""
    with virtual_gpu("24GiB"), CacheCalls() as calls:
        for step in range(3):
            torch.empty(2**25, dtype=torch.uint8, device="cuda")
            if step:
                torch.cuda.empty_cache()
                torch.cuda.empty_cache()
            calls.iteration_ended()
        use = calls.use
    assert (use.empties, use.emptied_iterations, use.returned_bytes) == (4, 2, 2 * 2**25)
    assert use.location is not None and use.location.path.endswith("test_cache_calls.py")


def test_a_card_that_had_to_empty_its_cache_and_one_that_was_full() -> None:
    """256 MiB: 200 cached in one piece serve no 220, so the cache is emptied; nothing helps against a GiB."""
    with virtual_gpu("256MiB", context_bytes=0), CacheCalls() as calls:
        torch.empty(200 * 2**20, dtype=torch.uint8, device="cuda")
        torch.empty(220 * 2**20, dtype=torch.uint8, device="cuda")
        try:
            torch.empty(2**30, dtype=torch.uint8, device="cuda")
        except torch.OutOfMemoryError:
            pass
        assert calls.refusals == 1
    assert calls.use.retries >= 1


def test_a_program_without_a_card_has_used_none() -> None:
    with CacheCalls() as calls:
        torch.cuda.empty_cache()
        calls.iteration_ended()
    expected = CacheUse(empties=1, emptied_iterations=1)
    assert replace(calls.use, seconds=0.0, location=None) == expected
    assert calls.refusals == 0 and not torch.cuda.is_initialized()
