"""The finder on real processes: exact, clean, and nothing of them is left."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import memdoctor
from memdoctor import batch_trial
from memdoctor.batch_trial import IN_TRIAL, Outcome, Request, Trials, run_trial
from memdoctor.foundation.batch_sizes import Trial
from memdoctor.foundation.errors import BadInput, UnknownCard
from memdoctor.user_function import UserFunction
from memdoctor.user_script import UserScript, script
from memdoctor.virtual.cards import find_card

MIB = 2**20

ONLY_ONCE_A_PROCESS = """
import torch
used = False
def make_step(batch_size):
    global used
    assert not used, "each trial has a process of its own"
    used = True
    return lambda: torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
"""


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[bytes]]:
    server = batch_trial._started()
    yield server
    server.communicate()


@pytest.fixture
def one_server(server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches share the process that has imported torch, and so take less than a second each."""
    monkeypatch.setattr(batch_trial, "_started", lambda: server)
    monkeypatch.setattr(Trials, "__exit__", lambda *ignored: None)


shares_a_server = pytest.mark.usefixtures("one_server")


def program(folder: Path, text: str) -> str:
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    return f"{path}:make_step"


@shares_a_server
def test_finds_the_largest_size_and_shows_every_trial(tmp_path: Path) -> None:
    """2 MiB a sample on 64 MiB: 2 recorded promise 32; 32 fit and 33 do not."""
    told: list[Trial] = []
    found = memdoctor.find_batch_size(program(tmp_path, ONLY_ONCE_A_PROCESS), card="64MiB", on_trial=told.append)
    assert (found.batch_size, found.card, found.peak_bytes, found.margin_bytes) == (32, "64MiB", 64 * MIB, 0)
    assert [(trial.batch_size, trial.fits) for trial in found.trials] == [(32, True), (33, False)]
    assert [(each.batch_size, each.peak_bytes) for each in found.recorded] == [(2, 4 * MIB), (32, 64 * MIB)]
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


@shares_a_server
def test_fragmentation_is_foreseen(tmp_path: Path) -> None:
    """1.5 MiB a sample are allocated and 2 MiB are taken: 512 MiB hold 256, though peaks promise 341."""
    found = memdoctor.find_batch_size(program(tmp_path, CACHES_WHAT_IT_CANNOT_USE_AGAIN), card="512MiB")
    assert (found.batch_size, found.predicted) == (256, 256)
    assert [(trial.batch_size, trial.fits) for trial in found.trials] == [(256, True), (257, False)]


class Answers:
    """In the place of the processes of trials: what each request would have found out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Request], Outcome]) -> None:
        self.asked: list[tuple[str | None, int]] = []
        self.quiet: set[str | None] = set()

        def run(trials: Trials, request: Request, *, is_quiet: bool = False) -> Outcome:
            self.asked.append((request.card, request.batch_size))
            assert request.card is None or find_card(request.card)
            if is_quiet:
                self.quiet.add(request.card)
            return answer(request)

        monkeypatch.setattr(Trials, "run", run)


def two_mib_a_sample(request: Request) -> Outcome:
    """On a real card of 64 MiB, and on a virtual one that is never full."""
    nbytes = request.batch_size * 2 * MIB
    fits = request.is_endless or nbytes <= 64 * MIB
    return Outcome(
        request.card or "H200",
        room_bytes=64 * MIB,
        usable_bytes=64 * MIB,
        fits=fits,
        peak_bytes=nbytes if fits else None,
        requests=(nbytes,) if request.is_endless else None,
        steps=3,
    )


def test_on_a_real_card_three_trials_prove_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first tells what the card gives; sizes are recorded quietly on a virtual one, at no cost to it."""
    answers = Answers(monkeypatch, two_mib_a_sample)
    found = memdoctor.find_batch_size(program(tmp_path, ""))
    virtual = "1024PiB"
    assert answers.asked == [(None, 2), (virtual, 2), (virtual, 32), (None, 32), (None, 33)]
    assert answers.quiet == {virtual}, "the user's program speaks once for each trial"
    assert (found.batch_size, found.card, found.is_exact) == (32, "H200", True)


def test_on_a_real_card_a_program_that_the_virtual_one_cannot_run_is_searched_by_peaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request) -> Outcome:
        if request.card is not None:
            raise BadInput("no such operator on the virtual card.", "None.")
        return two_mib_a_sample(request)

    Answers(monkeypatch, answer)
    assert memdoctor.find_batch_size(program(tmp_path, "")).batch_size == 32


def test_kernels_that_are_loaded_meanwhile_are_off_the_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB are free at the start of each trial; the libraries that a step loads take 8 of them."""
    def answer(request: Request) -> Outcome:
        outcome = two_mib_a_sample(request)
        if request.card is None:
            fits = request.batch_size <= 28
            outcome = dataclasses.replace(outcome, usable_bytes=56 * MIB, fits=fits)
        return outcome

    answers = Answers(monkeypatch, answer)
    assert memdoctor.find_batch_size(program(tmp_path, "")).batch_size == 28
    assert [size for card, size in answers.asked if card is None] == [2, 28, 29]


def test_others_on_the_card_that_moved_make_the_answer_no_longer_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = iter([1000 * MIB, 1000 * MIB, 800 * MIB])

    def answer(request: Request) -> Outcome:
        outcome = two_mib_a_sample(request)
        return outcome if request.is_endless else dataclasses.replace(outcome, room_bytes=next(rooms))

    Answers(monkeypatch, answer)
    found = memdoctor.find_batch_size(program(tmp_path, ""))
    assert not found.is_exact
    assert found.skipped[0].what == "the exact size"
    assert found.skipped[0].why.startswith("800.0 MiB to 1000.0 MiB were free before the trials")


def test_a_quiet_trial_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    raises = "print('speaks')\ndef make_step(n): raise ValueError('shown')"
    function = UserFunction(program(tmp_path, raises).removesuffix(":make_step"), "make_step", is_module=False)
    with pytest.raises(BadInput, match="ValueError: shown"):
        run_trial(Request(1, "64MiB", function), time_limit_seconds=100, is_quiet=True)
    assert capfd.readouterr() == ("", "")


def test_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 samples are the smallest size and need 80 MiB."""
    Answers(monkeypatch, two_mib_a_sample)
    found = memdoctor.find_batch_size(program(tmp_path, ""), card="64MiB", multiple_of=40)
    assert (found.batch_size, found.peak_bytes, found.margin_bytes) == (0, None, None)
    assert [(trial.batch_size, trial.fits) for trial in found.trials] == [(40, False)]


def test_a_program_that_leaves_the_card_empty_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains on the host: every size would fit."""
    empty = Outcome(card="64MiB", room_bytes=64 * MIB, fits=True, peak_bytes=0, requests=(), steps=3)
    Answers(monkeypatch, lambda request: empty)
    with pytest.raises(BadInput, match="put nothing on the card"):
        memdoctor.find_batch_size(program(tmp_path, ""), card="64MiB")


SHORT_DATA = """
import sys, torch
size = int(sys.argv[sys.argv.index("--batch-size") + 1])
model = torch.nn.Linear(2048, 2048, bias=False).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(EPOCHS):
    for batch in torch.zeros(1000, 1).split(SIZE):
        optimizer.zero_grad()
        model(batch.expand(-1, 2048).cuda()).sum().backward()
        optimizer.step()
"""


def short_data(folder: Path, *, epochs: int, size: str = "size") -> UserScript:
    path = folder / "train.py"
    path.write_text(SHORT_DATA.replace("EPOCHS", str(epochs)).replace("SIZE", size), encoding="utf-8")
    return script(str(path), "--batch-size")


@shares_a_server
@pytest.mark.parametrize(
    ("epochs", "largest"),
    [
        pytest.param(9, 1000, id="all samples in one batch, epoch after epoch"),
        pytest.param(1, 499, id="three steps of one epoch, of which two are full"),
    ],
)
def test_a_batch_that_the_data_do_not_fill_is_not_called_fitting(epochs: int, largest: int, tmp_path: Path) -> None:
    """The card would hold more; of 1,000 samples nobody knows."""
    found = memdoctor.find_batch_size(short_data(tmp_path, epochs=epochs), card="1GiB")
    assert largest * 2 // 3 <= found.batch_size <= largest
    assert all(trial.fits for trial in found.trials)
    assert found.skipped[0].what == f"batch-size above {found.batch_size}"
    assert found.is_ended_by_data


@shares_a_server
def test_an_argument_that_sets_no_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not fill 3 steps with batches of more than 2, whatever its batch-size"):
        memdoctor.find_batch_size(short_data(tmp_path, epochs=9, size="8"), card="1GiB")


@shares_a_server
def test_a_copy_of_the_working_directory_takes_what_the_program_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = ONLY_ONCE_A_PROCESS + "open('written', 'w').write(open('train.py').read())"
    program(tmp_path, text)
    assert memdoctor.find_batch_size("train.py:make_step", card="64MiB", in_copy=True).batch_size == 32
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
    assert memdoctor.find_batch_size("train.py:make_step", card="64MiB").batch_size == 32
    assert (tmp_path / "written").exists()


LEAVES_THINGS_BEHIND = """
import atexit, pathlib, socket, subprocess, sys, threading, torch
server = socket.create_server(("127.0.0.1", 0))
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
threading.Thread(target=threading.Event().wait).start()
torch.manual_seed(1)
def make_step(batch_size):
    return lambda: torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
"""


def test_processes_threads_and_ports_of_a_trial_end_with_it(tmp_path: Path) -> None:
    """The thread waits for ever, and so would Python at its end."""
    before = psutil.Process().children(recursive=True)
    assert memdoctor.find_batch_size(program(tmp_path, LEAVES_THINGS_BEHIND), card="64MiB").batch_size == 32
    assert set(psutil.Process().children(recursive=True)) <= set(before)
    assert not [each for each in psutil.process_iter(["cmdline"]) if "time.sleep(1000)" in str(each.info["cmdline"])]


@shares_a_server
def test_an_argument_beside_the_size(tmp_path: Path) -> None:
    """1 KiB for each pair of sample and position."""
    text = """
import torch
def make_step(batch_size, seq_len):
    return lambda: torch.empty(batch_size, seq_len, 2**10, dtype=torch.uint8, device="cuda")
"""
    found = memdoctor.find_batch_size(program(tmp_path, text), card="64MiB", axis="seq_len", at={"batch_size": 32})
    assert (found.batch_size, found.axis) == (2048, "seq_len")


@shares_a_server
def test_which_cards_fit_a_size(tmp_path: Path) -> None:
    """10 GiB, and a context on each card: an RTX 3080 of 9.8 GiB is too small, an RTX 2080 Ti is not."""
    text = """
import torch
def make_step(batch_size):
    return lambda: torch.empty(batch_size, 2**30, dtype=torch.uint8, device="cuda")
"""
    answer = memdoctor.which_cards(program(tmp_path, text), 10)
    assert [each.card for each in answer.cards if not each.trial.fits] == ["rtx4060", "rtx3080"]
    assert answer.cards[2].card == "rtx2080ti" and answer.cards[2].trial.peak_bytes == 10 * 2**30


def test_a_trial_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    hangs = "import time\ndef make_step(n): time.sleep(1000)"
    before = psutil.Process().children(recursive=True)
    with pytest.raises(BadInput, match=r"did not finish 3 steps of batch size 2 in 0.5 s"):
        memdoctor.find_batch_size(program(tmp_path, hangs), card="64MiB", time_limit_seconds=0.5)
    assert set(psutil.Process().children(recursive=True)) <= set(before)


@shares_a_server
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
