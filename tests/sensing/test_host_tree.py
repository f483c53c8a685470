"""The process tree and its limits, against what the system says by other ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from memdoctor.sensing import host_tree
from memdoctor.sensing.host_tree import memory_limit_bytes, read_host, shm_bytes

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc and /dev/shm are Linux's")


def test_a_child_is_counted_and_the_sum_is_at_least_this_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        reading = read_host(3, {child.pid})
        child.communicate(b"\n")
    assert reading.step == 3 and reading.processes >= 2
    assert reading.resident_bytes >= 0.9 * psutil.Process().memory_info().rss
    assert [worker.pid for worker in reading.workers] == [child.pid] * (sys.platform == "linux")


@LINUX
def test_the_proportional_size_is_no_more_than_the_resident_one() -> None:
    reading = read_host(0, ())
    assert reading.proportional_bytes is not None and 0 < reading.proportional_bytes <= reading.resident_bytes


@LINUX
def test_a_file_that_is_opened_is_one_more(tmp_path: Path) -> None:
    before = read_host(0, ()).open_files
    with open(tmp_path / "one", "w"):
        after = read_host(0, ()).open_files
    assert before is not None and after == before + 1


@LINUX
def test_shared_memory_in_use_is_counted() -> None:
    before, name = shm_bytes(), f"/dev/shm/memdoctor-test-{os.getpid()}"
    with open(name, "wb") as file:
        file.write(bytes(2**20))
        file.flush()
        after = shm_bytes()
    os.unlink(name)
    assert before is not None and after is not None and after[0] - before[0] >= 2**20


def test_the_limit_of_a_control_group_counts_where_it_is_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "memory.max"
    monkeypatch.setattr(host_tree, "_LIMITS", (str(group),))
    whole = memory_limit_bytes()
    group.write_text("1048576\n")
    assert memory_limit_bytes() == 2**20 < whole
    group.write_text("max\n")
    assert memory_limit_bytes() == whole


def test_a_process_that_has_ended_has_no_size() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert host_tree._sizes(child.pid) == {} and host_tree._resident(child.pid) == 0
