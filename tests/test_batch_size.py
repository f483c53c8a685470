"""The finder on real processes: exact, clean, and nothing of them is left."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest

import memdoctor
from memdoctor.batch_trial import IN_TRIAL, Outcome, Request, run_trial
from memdoctor.foundation.batch_sizes import BatchSize, Trial
from memdoctor.foundation.errors import BadInput, UnknownCard
from memdoctor.user_function import UserFunction

ONLY_ONCE_A_PROCESS = """
import torch
used = False
def make_step(batch_size):
    global used
    assert not used, "each trial has a process of its own"
    used = True
    return lambda: torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
"""


def program(folder: Path, text: str) -> str:
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    return f"{path}:make_step"


def test_finds_the_largest_size_and_shows_every_trial(tmp_path: Path) -> None:
    """2 MiB a sample on 64 MiB: two small sizes promise 32; 32 fit and 33 do not."""
    told: list[Trial] = []
    found = memdoctor.find_batch_size(program(tmp_path, ONLY_ONCE_A_PROCESS), card="64MiB", on_trial=told.append)
    assert (found.batch_size, found.card, found.peak_bytes, found.margin_bytes) == (32, "64MiB", 64 * 2**20, 0)
    assert [(trial.batch_size, trial.fits) for trial in found.trials] == [
        (2, True), (4, True), (32, True), (33, False)]
    assert found.predicted == 32
    assert tuple(told) == found.trials
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.py"], "a trial writes nothing beside the program"


CACHES_WHAT_IT_CANNOT_USE_AGAIN = """
import torch
def make_step(batch_size):
    def step():
        torch.cuda.empty_cache()
        first = torch.empty(batch_size, 2**20, dtype=torch.uint8, device="cuda")
        del first
        half = torch.empty(batch_size, 2**19, dtype=torch.uint8, device="cuda")
        whole = torch.empty(batch_size, 2**20, dtype=torch.uint8, device="cuda")
    return step
"""


def test_fragmentation_is_foreseen(tmp_path: Path) -> None:
    """1.5 MiB a sample are allocated and 2 MiB are taken: 512 MiB hold 256, though peaks promise 341."""
    found = memdoctor.find_batch_size(program(tmp_path, CACHES_WHAT_IT_CANNOT_USE_AGAIN), card="512MiB")
    assert (found.batch_size, found.predicted) == (256, 256)
    assert [(trial.batch_size, trial.fits) for trial in found.trials] == [
        (2, True), (4, True), (256, True), (257, False)]


def test_on_a_real_card_a_virtual_one_of_its_room_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real trials say what fits; what they asked of the allocator is known from their twins on the virtual card."""
    asked: list[tuple[str | None, int]] = []

    def answer(request: Request, time_limit_seconds: float, is_quiet: bool = False) -> Outcome:
        assert is_quiet == (request.card is not None), "the user's program speaks once for each trial"
        asked.append((request.card, request.batch_size))
        nbytes = request.batch_size * 2**21
        if request.card is not None:
            return Outcome(requests=(nbytes,), fits=True)
        fits = nbytes <= 64 * 2**20
        return Outcome("H200", 64 * 2**20, fits, nbytes if fits else None)

    monkeypatch.setattr("memdoctor.batch_size.run_trial", answer)
    found = memdoctor.find_batch_size(program(tmp_path, ""))
    twin = f"{64 * 2**20}B"
    assert asked == [(None, 2), (twin, 2), (None, 4), (twin, 4), (None, 32), (twin, 32), (None, 33)]
    assert (found.batch_size, found.card, len(found.trials)) == (32, "H200", 4)


def test_on_a_real_card_a_program_that_the_virtual_one_cannot_run_is_searched_by_peaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request, time_limit_seconds: float, is_quiet: bool = False) -> Outcome:
        if request.card is not None:
            raise BadInput("no such operator on the virtual card.", "None.")
        nbytes = request.batch_size * 2**21
        fits = nbytes <= 64 * 2**20
        return Outcome("H200", 64 * 2**20, fits, nbytes if fits else None)

    monkeypatch.setattr("memdoctor.batch_size.run_trial", answer)
    assert memdoctor.find_batch_size(program(tmp_path, "")).batch_size == 32


def test_a_quiet_trial_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    raises = "print('speaks')\ndef make_step(n): raise ValueError('shown')"
    function = UserFunction(program(tmp_path, raises).removesuffix(":make_step"), "make_step", is_module=False)
    with pytest.raises(BadInput, match="ValueError: shown"):
        run_trial(Request(function, 1, "64MiB"), time_limit_seconds=100, is_quiet=True)
    assert capfd.readouterr() == ("", "")


def test_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two multiples are tried first; then one is enough to know."""
    full = Outcome(card="64MiB", room_bytes=64 * 2**20, seconds=0.5)
    monkeypatch.setattr("memdoctor.batch_size.run_trial", lambda request, time_limit_seconds: full)
    found = memdoctor.find_batch_size(program(tmp_path, ""), card="64MiB", multiple_of=40)
    assert found == BatchSize(0, "64MiB", None, None, None, (Trial(80, False, None, 0.5), Trial(40, False, None, 0.5)))


def test_a_program_that_leaves_the_card_empty_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains on the host: every size would fit."""
    empty = Outcome(card="64MiB", room_bytes=64 * 2**20, fits=True, peak_bytes=0)
    monkeypatch.setattr("memdoctor.batch_size.run_trial", lambda request, time_limit_seconds: empty)
    with pytest.raises(BadInput, match="put nothing on the card"):
        memdoctor.find_batch_size(program(tmp_path, ""), card="64MiB")


def test_a_trial_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    hangs = "import time\ndef make_step(n): time.sleep(1000)"
    with pytest.raises(BadInput, match=r"did not finish 2 steps of batch size 2 in 0.5 s"):
        memdoctor.find_batch_size(program(tmp_path, hangs), card="64MiB", time_limit_seconds=0.5)
    assert psutil.Process().children(recursive=True) == []


def test_a_trial_that_is_killed_points_to_host_memory(tmp_path: Path) -> None:
    killed = "import os, signal\ndef make_step(n): os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(BadInput) as refused:
        memdoctor.find_batch_size(program(tmp_path, killed), card="64MiB")
    assert "make_step was killed by SIGKILL at batch size 2." in refused.value.found
    assert "Host memory ran out" in refused.value.next_step


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    """The trial has a session of its own, so a terminal's Ctrl-C reaches only the command."""
    hangs = f"""
import os, pathlib, time
def make_step(n):
    pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
    time.sleep(1000)
"""
    command = psutil.Popen(
        [sys.executable, "-m", "memdoctor", "batch-size", program(tmp_path, hangs), "--card", "64MiB"], stderr=-1
    )
    trial = psutil.Process(written_pid(tmp_path / "pid", command))
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    assert errors.decode().splitlines()[-1] == "memdoctor: interrupted."
    assert not trial.is_running()


def written_pid(path: Path, writer: psutil.Popen) -> int:
    """Wait for the number; the trial imports torch first."""
    while not (path.exists() and path.read_text()):
        with pytest.raises(psutil.TimeoutExpired):
            writer.wait(timeout=0.1)
    return int(path.read_text())


def test_a_search_within_a_trial_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without `if __name__ == "__main__":` would start searches without end."""
    monkeypatch.setenv(IN_TRIAL, "1")
    with pytest.raises(BadInput, match="while a trial imported this file"):
        memdoctor.find_batch_size("train.py:make_step", card="64MiB")


def test_an_unknown_card_is_refused_before_a_process_starts(tmp_path: Path) -> None:
    with pytest.raises(UnknownCard, match="rtx9999"):
        memdoctor.find_batch_size(program(tmp_path, "raise SystemExit"), card="rtx9999")


@pytest.mark.parametrize(
    ("multiple_of", "max_size"), [pytest.param(0, 8, id="of 0"), pytest.param(8, 7, id="8 up to 7")]
)
def test_limits_that_leave_no_size_are_refused(multiple_of: int, max_size: int, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"multiple of {multiple_of} and at most {max_size}"):
        memdoctor.find_batch_size(program(tmp_path, ""), card="64MiB", multiple_of=multiple_of, max_size=max_size)
