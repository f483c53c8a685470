"""Programs after real reports whose memory is not in tensors that leak: workers, the cache, phases, other processes.

The reports that each is after stand in the test's id or docstring.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from memdoctor import surroundings
from memdoctor.foundation.runs import RunReport
from memdoctor.reports.run_text import run_text
from memdoctor.run import NO_CARD, run

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc and fork are Linux's")


def report_of(folder: Path, program: str, card: str = NO_CARD) -> RunReport:
    """Of a script that runs to its end."""
    script = folder / "train.py"
    script.write_text(textwrap.dedent(program))
    outcome = run(str(script), [], module=False, card=card, output=None)
    assert outcome.error is None, outcome.error
    return outcome.report


@pytest.fixture
def read_each_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_SECONDS_BETWEEN_FIRST", 0.0)
    monkeypatch.setattr(surroundings, "_FIRST", 10**6)


WORKERS = """
    import numpy, torch

    class Images(torch.utils.data.Dataset):
        def __init__(self, count):
            self.paths = {paths}

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            return torch.full((4,), float(len(str(self.paths[index]))))

    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in torch.utils.data.DataLoader(Images(200_000), batch_size=5000, num_workers=2):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
"""


@LINUX
@pytest.mark.usefixtures("read_each_iteration")
def test_workers_that_copy_a_list_of_paths_are_told_with_the_list(tmp_path: Path) -> None:
    """worker-ram (P072, P078): growth in the children alone, by reference counts."""
    paths = "[f'/data/images/{number:0160d}.jpeg' for number in range(count)]"
    report = report_of(tmp_path, WORKERS.format(paths=paths))
    (finding,) = report.remarks
    assert (finding.code, finding.variable) == ("MD502", "Images.paths")
    assert finding.location is not None and finding.location.line == 16
    assert report.growth.verdict == "none" and report.host[0].processes >= 3
    text = run_text(report)
    assert "MD502  worker-copies-dataset" in text and "  host        " in text


@LINUX
@pytest.mark.usefixtures("read_each_iteration")
def test_workers_over_an_array_are_left_alone(tmp_path: Path) -> None:
    report = report_of(tmp_path, WORKERS.format(paths="numpy.arange(count)"))
    assert report.remarks == () and report.skipped == ()


TRAINING = """
    import torch

    model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(6))).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(steps, each_step=lambda: None):
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(256, 512).cuda()).square().mean().backward()
            optimizer.step()
            each_step()

    def evaluate(batch_size):
        for _ in range(4):
            model(torch.randn(batch_size, 512).cuda()).sum().item()
"""


@pytest.mark.parametrize(
    ("program", "code", "says"),
    [
        pytest.param(
            "train(4); model.eval(); evaluate(4096)", "MD201", "gradients are on in it", id="eval-grad (P001, P055)"
        ),
        pytest.param(
            "train(4)\nwith torch.no_grad(): evaluate(16384)", "MD207", "its batches are larger",
            id="validation takes twice the memory of training (P064)",
        ),
        pytest.param(
            "train(20, torch.cuda.empty_cache)", "MD401", "in 20 of 20 iterations", id="empty_cache in the loop",
        ),
    ],
)
def test_what_makes_a_card_fuller_or_slower_than_it_need_be_is_told(
    tmp_path: Path, program: str, code: str, says: str
) -> None:
    report = report_of(tmp_path, textwrap.dedent(TRAINING) + program, "a100-40gb")
    (finding,) = report.remarks
    assert finding.code == code and says in finding.message


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("train(4)\nwith torch.no_grad(): evaluate(256)", id="an evaluation as it should be"),
        pytest.param("torch.cuda.empty_cache(); train(20); torch.cuda.empty_cache()", id="between two stages"),
    ],
)
def test_what_a_careful_program_does_is_left_alone(tmp_path: Path, program: str) -> None:
    assert report_of(tmp_path, textwrap.dedent(TRAINING) + program, "a100-40gb").remarks == ()


@LINUX
def test_processes_that_were_not_watched_are_told(tmp_path: Path) -> None:
    program = """
        import multiprocessing

        if __name__ == "__main__":
            for _ in range(2):
                process = multiprocessing.get_context("spawn").Process(target=print)
                process.start()
                process.join()
    """
    (skipped,) = report_of(tmp_path, program).skipped
    assert skipped.what == "2 processes that the program has started"


@LINUX
def test_a_list_of_batches_that_uses_up_the_files_is_the_first_line(tmp_path: Path) -> None:
    """shm (P107, P166), in a process of its own: the limit is the process's."""
    (tmp_path / "train.py").write_text(textwrap.dedent("""
        import resource, torch
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        model = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        samples = []
        for batch in torch.utils.data.DataLoader(torch.zeros(4000, 4), batch_size=8, num_workers=1):
            model(batch).sum().backward()
            optimizer.step()
            samples.append(batch)
    """))
    command = [sys.executable, "-m", "memdoctor", "run", "--virtual", "none", "train.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    answer = ended.stdout.split("\n\n")[0].strip()
    assert ended.returncode == 1
    assert answer == "memdoctor: the program has ended by MD504 open-files-grow, at train.py:7.", ended.stderr
    assert "prepared ahead 1 worker x 2 batches x 128 B = 256 B" in " ".join(ended.stdout.split())


@LINUX
def test_a_child_that_was_forked_leaves_the_report_to_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import os\nif os.fork() == 0:\n    os._exit(0)\nos.wait()\nprint('parent')\n")
    words = [sys.executable, "-m", "memdoctor", "run", "--virtual", "none", str(script)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.count("memdoctor:") == 1


def test_a_host_that_cannot_be_read_is_told_and_the_rest_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "read_host", lambda step, pids: 1 / 0)
    report = report_of(tmp_path, textwrap.dedent(TRAINING) + "train(5)", "a100-40gb")
    assert report.timeline.iterations == 5 and report.host == ()
    assert [skipped.what for skipped in report.skipped][0] == "the host's side"
