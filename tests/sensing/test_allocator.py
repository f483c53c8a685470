"""Counters: the running maximum is memdoctor's own, and a program on the host has none."""

from __future__ import annotations

import pytest

from memdoctor.sensing.allocator import Counters, HostAllocator, RunningMaximum


@pytest.mark.parametrize(
    ("readings", "peak"),
    [
        pytest.param([(5, 5), (5, 9)], 9, id="a peak between two readings is seen"),
        pytest.param([(5, 100), (6, 100)], 6, id="a peak from before the first reading is not"),
        pytest.param([(5, 100), (6, 120)], 120, id="a new record is"),
        pytest.param([(5, 100), (6, 40), (6, 40)], 40, id="a reset by the program begins a new count"),
        pytest.param([(5, 100), (90, 90), (2, 3)], 90, id="a reset does not take back what was seen"),
    ],
)
def test_the_peak_is_a_running_maximum(readings: list[tuple[int, int]], peak: int) -> None:
    first, *rest = readings
    maximum = RunningMaximum(*first)
    for reading in rest:
        maximum.update(*reading)
    assert maximum.value == peak


def test_the_host_has_no_counters() -> None:
    host = HostAllocator()
    assert host.counters() == Counters(0, 0, 0, 0, 0)
    assert host.reading().name == "cpu" and host.utilization_percent() is None
