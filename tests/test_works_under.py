"""memdoctor in the places where programs live: event loops, signal handlers, spawned processes, notebooks."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import memdoctor
from memdoctor.foundation.recording import read_recording

pytestmark = pytest.mark.usefixtures("searches_need_not_wait")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signals as on Linux")


class Training:
    """A small loop that can be run step by step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(16, 16)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def step(self) -> float:
        loss = self.model(torch.randn(4, 16)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def test_tasks_of_an_event_loop_that_train_in_turn_are_a_round_each() -> None:
    """As the optimizers of a GAN, which step in turn too."""
    async def train(steps: int) -> None:
        training = Training()
        for _ in range(steps):
            training.step()
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(train(7), train(5))

    with memdoctor.profile() as prof:
        asyncio.run(both())
    assert prof.report.timeline.iterations == 7 and prof.report.skipped == ()


@LINUX
def test_a_signal_handler_of_the_programs_runs_and_stays() -> None:
    """It may come within any line, also within memdoctor's, and may call models itself."""
    training, judge, calls = Training(), nn.Linear(2, 2), []

    def on_alarm(*ignored: object) -> None:
        calls.append(judge(torch.ones(2)).sum().item())
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.003)

    before = signal.signal(signal.SIGVTALRM, on_alarm)
    try:
        with memdoctor.profile() as prof:
            training.step()  # until an optimizer has stepped, calls of a model without one are iterations
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.003)
            steps = 1
            while len(calls) < 20 or steps < 30:
                training.step()
                steps += 1
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        assert signal.getsignal(signal.SIGVTALRM) is on_alarm
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert prof.report.timeline.iterations == steps and prof.report.skipped == ()
    assert not training.model._forward_hooks and not judge._forward_hooks


def test_nothing_waits_for_the_end_of_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    Training().step()  # what PyTorch registers when it is first used
    waiting: list[object] = []
    monkeypatch.setattr(atexit, "register", waiting.append)
    monkeypatch.setattr(atexit, "unregister", waiting.remove)
    with contextlib.suppress(ZeroDivisionError), memdoctor.profile():
        Training().step()
        raise ZeroDivisionError
    assert not waiting


SPAWNING = """
    import multiprocessing, sys, torch, memdoctor

    class Noise(torch.utils.data.Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, index):
            return torch.full((16,), float(index))

    def train(batches):
        torch.manual_seed(0)
        model = torch.nn.Linear(16, 16)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for batch in batches:
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
        print(model.weight.sum().item().hex())

    if __name__ == "__main__":
        loader = torch.utils.data.DataLoader(Noise(), 4, num_workers=1, multiprocessing_context="spawn")
        with memdoctor.profile(output=sys.argv[1]):
            train(loader)
            child = multiprocessing.get_context("fork").Process(target=train, args=([torch.ones(4, 16)] * 3,))
            child.start()
            child.join()
        sys.exit(child.exitcode)
"""


@LINUX
def test_spawned_workers_and_forked_children_compute_and_leave_the_recording_alone(tmp_path: Path) -> None:
    script, recording = tmp_path / "train.py", tmp_path / "run.mdoc"
    script.write_text(textwrap.dedent(SPAWNING))
    done = subprocess.run([sys.executable, script, recording], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout.count("0x") == 2, done.stderr
    run = read_recording(recording)
    assert run.timeline.iterations == 6
    assert [skipped.what for skipped in run.skipped] == ["a process that the program has started"]


CELLS = [
    """
    import memdoctor, torch
    model = torch.nn.Linear(64, 64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    kept = []

    def step(batch=torch.ones(8, 64)):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
    """,
    """
    with memdoctor.profile() as prof:
        for _ in range(40):
            step()
            kept.append(torch.zeros(5000))
    print(prof)
    """,
    """
    @memdoctor.watch
    def train():
        for _ in range(12):
            step()

    train()
    """,
    """
    for batch in memdoctor.track([torch.ones(8, 64)] * 6):
        step(batch)
    """,
]


def test_the_cells_of_a_real_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of its own, as Jupyter starts it: the leak has the cell's line, and each loop shows its report."""
    nbformat = pytest.importorskip("nbformat", reason="notebooks are run where nbclient and ipykernel are installed")
    nbclient = pytest.importorskip("nbclient", reason="as above")
    pytest.importorskip("ipykernel", reason="as above")
    monkeypatch.setenv("PYTHONPATH", str(Path(memdoctor.__file__).parent.parent))
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    leak, watched, tracked = (shown(cell) for cell in notebook.cells[1:])
    assert "kept" in leak and "kept.append(torch.zeros(5000))" in leak
    assert "No leak" in watched and "iterations  12" in watched
    assert "iterations  6" in tracked


def shown(cell: object) -> str:
    """Everything that a cell has written."""
    outputs = cell.outputs  # type: ignore[attr-defined]  # nbformat is untyped
    return "".join(output.get("text", "") for output in outputs)
