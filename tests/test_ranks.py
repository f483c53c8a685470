"""Several ranks on real processes: one answer for all, nobody waits for a rank that is gone, and nothing is left."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from memdoctor.batch_trial import Outcome, Request
from memdoctor.foundation.errors import BadInput
from memdoctor.ranks import RankedTrials, _visible_cards
from memdoctor.user_function import UserFunction

MIB = 2**20
CUBLAS_BYTES = 2 * 4096 * 1024 + 8 * 16 * 1024
"""`:4096:2:16:8`, PyTorch's default for cuBLAS."""

BEGIN = """
import itertools, os, pathlib, time, torch
from torch import distributed
rank = int(os.environ["RANK"])
pathlib.Path(__file__).with_name(f"rank{rank}.pid").write_text(f"{os.getpid()} {os.environ['MASTER_PORT']}")
"""


@pytest.fixture(scope="module")
def trials() -> Iterator[RankedTrials]:
    """One for all tests: what a trial leaves behind would disturb the next."""
    before = psutil.Process().children(recursive=True)
    with RankedTrials(ranks=2, time_limit_seconds=60) as trials:
        yield trials
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def request_of(folder: Path, text: str, batch_size: int = 8, card: str | None = "64MiB") -> Request:
    path = folder / "train.py"
    path.write_text(BEGIN + text, encoding="utf-8")
    return Request(batch_size, card, UserFunction(str(path), "make_step"))


def ran(trials: RankedTrials, folder: Path, text: str, batch_size: int = 8) -> Outcome:
    return trials.run(request_of(folder, text, batch_size))


def nothing_runs_or_listens(folder: Path) -> bool:
    notes = [path.read_text().split() for path in folder.glob("rank*.pid")]
    assert len(notes) == 2
    with socket.socket() as probe:
        is_closed = probe.connect_ex(("127.0.0.1", int(notes[0][1]))) != 0
    return is_closed and not any(psutil.pid_exists(int(pid)) for pid, _ in notes)


DATA_PARALLEL = """
def make_step(batch_size):
    distributed.init_process_group("gloo")
    assert distributed.get_world_size() == 2
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    layer = torch.nn.Linear(1024, 1024, bias=False, device="cuda")
    model = torch.nn.parallel.DistributedDataParallel(layer)
    batch = torch.zeros(batch_size, 1024, device="cuda")
    def step():
        out = model(batch)
        del out
    return step
"""


def test_the_buckets_of_ddp_are_on_the_card(trials: RankedTrials, tmp_path: Path) -> None:
    """Weight and bucket of 4 MiB each, a batch of 1 MiB and its output of the same; cuBLAS takes its workspace."""
    outcome = ran(trials, tmp_path, DATA_PARALLEL, batch_size=256)
    assert (outcome.fits, outcome.peak_bytes) == (True, 10 * MIB + CUBLAS_BYTES)
    assert nothing_runs_or_listens(tmp_path)


RANK_1_NEEDS_TWICE_AS_MUCH = """
def make_step(batch_size):
    store = distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), 2, rank == 0)
    numbers = itertools.count()
    def step():
        torch.empty(batch_size * (1 + rank), MIB, dtype=torch.uint8, device="cuda")
        key = f"step {next(numbers)}"
        store.set(key, "done") if rank else store.wait([key])
    return step
""".replace("MIB", str(MIB))


def test_the_rank_that_needs_most_is_the_answer(trials: RankedTrials, tmp_path: Path) -> None:
    outcome = ran(trials, tmp_path, RANK_1_NEEDS_TWICE_AS_MUCH, batch_size=32)
    assert (outcome.fits, outcome.peak_bytes) == (True, 64 * MIB)


def test_a_rank_that_waits_for_one_whose_card_is_full_is_ended(trials: RankedTrials, tmp_path: Path) -> None:
    """Rank 0 would wait for ever, or complain of a lost connection: neither is an error of the program."""
    assert ran(trials, tmp_path, RANK_1_NEEDS_TWICE_AS_MUCH, batch_size=33).fits is False
    assert nothing_runs_or_listens(tmp_path)
    assert ran(trials, tmp_path, RANK_1_NEEDS_TWICE_AS_MUCH, batch_size=32).fits, "the next trial is not disturbed"


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        pytest.param("raise ValueError('a label is 0')", "not for memory: ValueError: a label is 0", id="raises"),
        pytest.param("os._exit(3)", "ended its process with exit code 3 at batch size 8", id="exits"),
    ],
)
def test_a_rank_that_fails_is_named_and_the_others_are_ended(
    trials: RankedTrials, tmp_path: Path, fails: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memdoctor.ranks._GRACE_SECONDS", 0.5)
    text = f"""
def make_step(batch_size):
    if rank == 1:
        {fails}
    time.sleep(1000)
"""
    with pytest.raises(BadInput, match=f"^On rank 1, .*{says}"):
        ran(trials, tmp_path, text)
    assert nothing_runs_or_listens(tmp_path)


def test_ctrl_c_leaves_no_rank_behind(tmp_path: Path) -> None:
    request_of(tmp_path, "def make_step(batch_size): time.sleep(1000)")
    command = psutil.Popen([sys.executable, "-m", "memdoctor", "batch-size", "--nproc", "2", "--card", "64MiB",
                            f"{tmp_path}/train.py:make_step"], stderr=-1)
    while len(list(tmp_path.glob("rank*.pid"))) < 2:
        with pytest.raises(psutil.TimeoutExpired):
            command.wait(timeout=0.1)
    started = command.children(recursive=True)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    assert errors.decode().splitlines()[-1] == "memdoctor: interrupted."
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert nothing_runs_or_listens(tmp_path)


def test_every_rank_sees_its_own_real_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [card["CUDA_VISIBLE_DEVICES"] for card in _visible_cards(2)] == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    assert [card["CUDA_VISIBLE_DEVICES"] for card in _visible_cards(2)] == ["3", "5"]


def test_too_few_real_cards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(BadInput, match="names fewer than 2 cards"):
        _visible_cards(2)
