"""What goes wrong around a watched program: it goes on as without memdoctor, and the report says so."""

from __future__ import annotations

import contextlib
import linecache
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import memdoctor
from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.recording import read_recording
from memdoctor.foundation.runs import CUT_OFF, RAISED, RunReport

pytestmark = pytest.mark.usefixtures("searches_need_not_wait")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signals, limits and forks as on Linux")


def train(steps: int, model: nn.Module | None = None, each_step: Callable[[], object] = lambda: None) -> float:
    """A small training loop on the CPU; the same numbers each time."""
    torch.manual_seed(0)
    model = nn.Linear(16, 16) if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        loss = model(torch.randn(4, 16)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        each_step()
    return loss.item()


def watched(work: Callable[[], object]) -> RunReport:
    """Of work that must run to its end."""
    with memdoctor.profile() as prof:
        work()
    return prof.report


@contextlib.contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@LINUX
def test_a_file_that_may_not_grow_ends_the_recording_and_not_the_run(tmp_path: Path) -> None:
    """As on a disk that fills up in the middle of a line: what is whole can be read, and the report tells the rest."""
    path = tmp_path / "run.mdoc"
    with limited(resource.RLIMIT_FSIZE, 2000):
        with memdoctor.profile(output=path) as prof:
            train(30)
    assert prof.report.timeline.iterations == 30
    assert [skipped.what for skipped in prof.report.skipped] == ["the rest of the recording"]
    kept = read_recording(path)
    assert 0 < kept.timeline.iterations < 30 and kept.end.outcome == CUT_OFF


@LINUX
def test_a_read_only_folder_is_a_sentence_before_anything_runs() -> None:
    with pytest.raises(BadInput, match="/sys/run.mdoc cannot be written"):
        memdoctor.profile(output="/sys/run.mdoc").__enter__()


KILLED = """
    import os, random, signal, sys, time
    import memdoctor, torch

    moments, parent = random.Random(0), os.getpid()
    for number in range(20):
        path = f"{sys.argv[1]}/{number}.mdoc"
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # where this process is killed before it kills its child
            with memdoctor.profile(output=path) as prof:
                while os.getppid() == parent:  # not for ever, should the test give up on its parent
                    prof.step()
            os._exit(0)
        size = moments.randint(1, 10_000)
        while not (os.path.exists(path) and os.path.getsize(path) >= size):
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


@LINUX
def test_killed_at_any_of_20_moments_the_recording_reads_up_to_its_last_whole_line(tmp_path: Path) -> None:
    """In a process of its own, whose heap is small."""
    words = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    subprocess.run(words, check=True, timeout=600)  # of a few seconds, on a machine that has nothing else to do
    runs = [read_recording(path) for path in tmp_path.iterdir()]
    assert len(runs) == 20 and len({run.timeline.iterations for run in runs}) > 5
    for run in runs:
        assert run.end.outcome == CUT_OFF and run.skipped == ()
        assert [reading.step for reading in run.timeline.readings] == list(range(run.timeline.iterations))


def test_a_clock_that_jumps_moves_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**9, 0, -10**6))
    monkeypatch.setattr("time.time", lambda: next(jumps))
    seconds = [reading.seconds for reading in watched(lambda: train(20)).timeline.readings]
    assert seconds == sorted(seconds) and 0 <= seconds[0] and seconds[-1] < 60


@pytest.mark.parametrize("register", ["register_forward_pre_hook", "register_forward_hook"])
def test_an_exception_in_a_hook_of_the_users_is_his_and_the_counting_goes_on(register: str) -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    handle = getattr(model[1], register)(lambda *args: 1 / 0)

    def work() -> None:
        with pytest.raises(ZeroDivisionError):
            model(torch.zeros(1, 16))
        handle.remove()
        train(12, model)

    report = watched(work)
    assert report.timeline.iterations == 12 and report.skipped == ()


def test_an_exception_in_an_optimizers_hook_is_the_users_too() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    optimizer.register_step_post_hook(lambda *args: 1 / 0)
    prof = memdoctor.profile()
    with pytest.raises(ZeroDivisionError), prof:
        optimizer.step()
    assert prof.report.end.outcome == RAISED and prof.report.skipped == ()


def test_a_thousand_modules_in_one_another() -> None:
    model: nn.Module = nn.Linear(16, 16)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        for _ in range(1000):
            model = nn.Sequential(model)
        report = watched(lambda: train(6, model))
    finally:
        sys.setrecursionlimit(before)
    assert report.timeline.iterations == 6 and report.skipped == ()


def test_a_hundred_thousand_tensors() -> None:
    kept = [torch.zeros(1) for _ in range(100_000)]
    report = watched(lambda: train(4))
    assert report.timeline.iterations == 4 and report.growth.verdict == "none" and len(kept) == 100_000


def test_a_recursion_limit_that_leaves_no_room_for_a_hook_is_told_and_the_program_goes_on() -> None:
    """The hooks need some 40 frames; a program that is that near to its limit is not watched, and not disturbed."""
    model, parameter = nn.Linear(1, 1), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    parameter.grad = torch.ones(1)
    optimizer.step()
    limit = sys.getrecursionlimit()

    def deep(room: int) -> None:
        """Steps where so many frames are left."""
        sys.setrecursionlimit(len_of_stack() + room)
        try:
            optimizer.step()
        finally:
            sys.setrecursionlimit(limit)

    room = next(room for room in range(8, 200) if not _overflows(lambda: deep(room)))
    report = watched(lambda: deep(room + 3))
    assert model is not None and "RecursionError" in report.skipped[0].why


def len_of_stack() -> int:
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


def _overflows(work: Callable[[], object]) -> bool:
    try:
        work()
    except RecursionError:
        return True
    return False


def test_compiled_models_compute_the_same() -> None:
    """And nothing is said of global hooks, which are memdoctor's: a warning is an error here."""
    def work() -> float:
        torch._dynamo.reset()
        return train(8, torch.compile(nn.Linear(16, 16), backend="eager"))

    torch.manual_seed(1)
    expected = work()
    with memdoctor.profile() as prof:
        torch.manual_seed(1)
        assert work() == expected
    assert prof.report.timeline.iterations == 8 and prof.report.skipped == ()


def test_threads_that_step_in_turn_are_all_counted() -> None:
    def work() -> None:
        for _ in range(3):
            thread = threading.Thread(target=train, args=(5,))
            thread.start()
            thread.join()

    assert watched(work).timeline.iterations == 15


def test_a_cell_of_a_notebook_is_the_users_source() -> None:
    """A cell has no file: its text is in `linecache` under a name of its own."""
    cell = "kept = []\nfor _ in range(30):\n    step()\n    kept.append(torch.zeros(1000))\n"
    name = "<ipython-input-7-1a2b3c>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    user = {"torch": torch, "step": lambda: prof.step(), "__name__": "__main__"}
    try:
        with memdoctor.profile() as prof:
            exec(compile(cell, name, "exec"), user)  # noqa: S102  # as a notebook runs it
    finally:
        del linecache.cache[name]
    assert prof.report.growth.verdict == "leak" and prof.report.timeline.iterations == 30


SCRIPT = """
import memdoctor, torch

def main():
    torch.manual_seed(0)
    model = torch.nn.Linear(16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with memdoctor.profile() as prof:
        for _ in range(12):
            optimizer.zero_grad()
            model(torch.randn(4, 16)).square().mean().backward()
            optimizer.step()
    print(prof.report.timeline.iterations, prof.report.growth.verdict, len(prof.report.skipped))

main()
"""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["-m", "pdb", "-c", "continue"], id="pdb"),
        pytest.param(["-m", "coverage", "run", "--data-file={folder}/coverage"], id="coverage"),
        pytest.param(["-X", "dev", "-W", "error::ResourceWarning"], id="development mode"),
    ],
)
def test_tools_that_trace_a_program_may_run_it(tmp_path: Path, words: list[str]) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, *(word.format(folder=tmp_path) for word in words), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert "12 none 0" in done.stdout, done.stderr
