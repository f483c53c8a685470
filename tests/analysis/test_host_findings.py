"""Findings of the host's side, each on readings by hand: where it is found, and what looks alike and is fine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memdoctor.analysis.host import host_findings
from memdoctor.foundation.findings import Finding
from memdoctor.foundation.host import HostReading, LoaderReading, WorkerReading
from memdoctor.foundation.locations import Location
from memdoctor.foundation.units import GIB, MIB

LOADER = LoaderReading(
    workers=2, prefetch_factor=2, batch_bytes=MIB, location=Location("train.py", 7), shm_free_bytes=64 * MIB,
    memory_limit_bytes=8 * GIB, objects="Images.paths", object_count=600_000,
)
"""Eight MiB are not even prepared ahead: 2 x 2 x 1 MiB."""


def host(step: int, **figures: object) -> HostReading:
    known = {"processes": 3, "resident_bytes": GIB, "proportional_bytes": GIB, "shm_total_bytes": 64 * MIB}
    return HostReading(**{"step": step, **known, **figures})  # type: ignore[arg-type]  # by name, as each test says


def with_workers(private_mib: list[int], shared_mib: list[int], pids: tuple[int, int] = (5, 6)) -> list[HostReading]:
    """Two workers that are alike; readings ten iterations apart, and one when they have gone."""
    readings = [
        host(10 * number, workers=tuple(WorkerReading(pid, own * MIB, common * MIB) for pid in pids))
        for number, (own, common) in enumerate(zip(private_mib, shared_mib))
    ]
    return [*readings, host(10 * len(readings))]


def found(
    readings: list[HostReading], *loaders: LoaderReading, message: str = "", is_leak: bool = False
) -> list[Finding]:
    return list(host_findings(readings, loaders, message, is_leak=is_leak))


COPYING = with_workers([10, 20, 30, 40], [300, 290, 280, 270])


def test_a_data_set_of_objects_that_its_workers_copy_is_named_with_the_bytes() -> None:
    (finding,) = found(COPYING, LOADER)
    assert (finding.code, finding.variable, str(finding.location)) == ("MD502", "Images.paths", "train.py:7")
    assert "600,000 Python objects" in finding.message
    assert "2 workers have copied 60.0 MiB of host memory from iteration 0 to 30" in finding.message


@pytest.mark.parametrize(
    ("readings", "loader"),
    [
        pytest.param(COPYING, replace(LOADER, objects="", object_count=0), id="an array, whatever else they do"),
        pytest.param(with_workers([10, 20, 30, 40], [300] * 4), LOADER, id="memory of their own, not copied"),
        pytest.param(with_workers([10, 12, 14, 16], [300, 298, 296, 294]), LOADER, id="a little at the start"),
        pytest.param(with_workers([10, 40, 20, 40], [300, 270, 290, 270]), LOADER, id="up and down"),
        pytest.param(COPYING[:3], LOADER, id="too short to tell"),
        pytest.param(
            with_workers([10, 40], [300, 270]) + with_workers([10, 40], [300, 270], pids=(7, 8)), LOADER,
            id="workers of another epoch",
        ),
        pytest.param([], LOADER, id="nothing was read"),
    ],
)
def test_what_else_workers_take_is_not_called_a_copy(readings: list[HostReading], loader: LoaderReading) -> None:
    assert found(readings, loader) == []


def test_a_queue_that_shared_memory_cannot_hold_is_told_with_the_factor_that_fits() -> None:
    """2 workers x 4 batches x 10 MiB are 80 MiB; 64 MiB are free, enough for 3 batches of each."""
    (finding,) = found([], replace(LOADER, prefetch_factor=4, batch_bytes=10 * MIB))
    assert finding.code == "MD503" and "80.0 MiB of shared memory once all are busy" in finding.message
    assert "/dev/shm has 64.0 MiB" in finding.message
    assert finding.advice is not None and finding.advice.text.startswith("Prefetch_factor=3")


def test_a_queue_that_fits_and_one_without_known_limits_are_left_alone() -> None:
    assert found([], replace(LOADER, batch_bytes=16 * MIB)) == []
    unknown = replace(LOADER, batch_bytes=GIB, shm_free_bytes=None, memory_limit_bytes=None)
    assert found([], unknown) == []


def test_a_worker_that_died_of_a_bus_error_found_no_shared_memory() -> None:
    message = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are "
    (finding,) = found([host(3, shm_used_bytes=60 * MIB)], message=message + "out of shared memory.")
    assert "it has 64.0 MiB, of which 60.0 MiB are in use" in finding.message
    assert found([host(3)], message="RuntimeError: DataLoader worker (pid 7) exited unexpectedly") == []


def files(*counts: int) -> list[HostReading]:
    return [host(100 * number, open_files=count, open_files_limit=1024) for number, count in enumerate(counts)]


def test_files_that_are_left_open_are_told_with_the_iteration_at_which_it_ends() -> None:
    """100 more every 100 iterations; 424 more are allowed."""
    (finding,) = found(files(300, 400, 500, 600, 20))
    assert finding.code == "MD504" and "reached in some 424 iterations" in finding.message


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((300, 400, 400, 400, 400), id="as many as are needed"),
        pytest.param((20, 60, 100, 130, 20), id="far from the limit"),
        pytest.param((500, 600, 20), id="too short to tell"),
    ],
)
def test_files_that_are_open_for_good_reasons_are_left_alone(counts: tuple[int, ...]) -> None:
    assert found(files(*counts)) == []


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("RuntimeError: Too many open files. Communication with the workers is no longer", id="workers"),
        pytest.param("RuntimeError: received 0 items of ancdata", id="what the system said"),
    ],
)
def test_a_run_that_no_file_was_left_for_needs_no_readings_to_be_told(message: str) -> None:
    (finding,) = found(files(500, 1023), LOADER, message=message)
    assert finding.code == "MD504" and "(1,024 are allowed)" in finding.message
    assert finding.location == LOADER.location


def sizes(*mib: int) -> list[HostReading]:
    return [host(10 * number, proportional_bytes=1000 * MIB + size * MIB) for number, size in enumerate(mib)]


def test_host_memory_that_grows_all_along_is_told_once() -> None:
    (finding,) = found(sizes(*range(0, 400, 20)))
    assert finding.code == "MD505" and "2.0 MiB an iteration" in finding.message
    assert found(sizes(*range(0, 400, 20)), is_leak=True) == []


@pytest.mark.parametrize(
    "mib",
    [
        pytest.param([0, 100, 200, 300] + [400] * 16, id="a cache that is full"),
        pytest.param([0] * 16 + [100, 200, 300, 400], id="something that was loaded late"),
        pytest.param(list(range(0, 20)), id="little"),
        pytest.param([0, 400] * 10, id="up and down"),
        pytest.param(list(range(0, 400, 100)), id="too short to tell"),
    ],
)
def test_host_memory_that_rises_otherwise_is_left_alone(mib: list[int]) -> None:
    assert found(sizes(*mib)) == []
