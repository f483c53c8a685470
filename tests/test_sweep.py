"""A sweep answers each point as a trial of its own does, wherever it ran, and goes on where it was broken off."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import memdoctor
from memdoctor.batch_trial import Outcome
from memdoctor.foundation.errors import BadInput, UnknownCard
from memdoctor.foundation.sweeps import Sweep

HOLDS_2_MIB_A_SAMPLE = """
import os, torch
def make_step(batch_size):
    print(f"tried {batch_size}", flush=True)
    return lambda: torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
"""
MIB = 2**20
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is an optional extra: pip install 'torch-memdoctor[ray]'")


def program(folder: Path, text: str = HOLDS_2_MIB_A_SAMPLE) -> str:
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    return f"{path}:make_step"


def told(result: Sweep) -> list[tuple[int, str, int | None, int | None]]:
    return [(point.batch_size, point.card, point.peak_bytes, point.margin_bytes) for point in result.points]


EXPECTED = [
    (8, "64MiB", 16 * MIB, 48 * MIB),
    (33, "64MiB", None, None),
    (8, "96MiB", 16 * MIB, 80 * MIB),
    (33, "96MiB", 66 * MIB, 30 * MIB),
]


def test_each_size_is_tried_on_each_card_in_processes_of_this_machine(tmp_path: Path) -> None:
    """2 MiB a sample: 33 samples need 66 MiB. A size that is named twice is one point."""
    before = psutil.Process().children(recursive=True)
    progress: list[tuple[int, int]] = []
    result = memdoctor.sweep(
        program(tmp_path), sizes=[8, 33, 8], cards=["64MiB", "96MiB"], processes=2,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert told(result) == EXPECTED
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_points_that_are_done_are_not_tried_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Broken off in the middle of a line: that point is tried once more, the whole one is not."""
    results = tmp_path / "sweep.jsonl"
    first = memdoctor.sweep(program(tmp_path), sizes=[8, 33], cards=["64MiB"], results=results, processes=1)
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:2]) + lines[2][:20])
    capfd.readouterr()
    again = memdoctor.sweep(program(tmp_path), sizes=[8, 33], cards=["64MiB"], results=results, processes=1)
    assert told(again) == told(first) == EXPECTED[:2]
    assert capfd.readouterr().err.splitlines() == ["tried 33"]
    assert len(results.read_text().splitlines()) == 3


def test_a_sweep_that_is_done_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "sweep.jsonl"
    point = {"batch_size": 8, "card": "64MiB", "fits": True, "peak_bytes": 1, "margin_bytes": 2, "seconds": 0.5}
    memdoctor.sweep(program(tmp_path), sizes=[8], cards=["64MiB"], results=results, processes=1)
    header = results.read_text().splitlines()[0]
    results.write_text(f"{header}\n{json.dumps(point)}\n")
    monkeypatch.setattr("memdoctor.batch_trial.Trials.run", None)
    assert told(memdoctor.sweep(program(tmp_path), sizes=[8], cards=["64MiB"], results=results)) == [(8, "64MiB", 1, 2)]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        pytest.param('{"version": 1, "program": "other.py:make_step", "digest": ""}\n', "is of other.py:make_step.",
                     id="another program"),
        pytest.param("batch_size,card\n", "is no file of a sweep.", id="another kind of file"),
    ],
)
def test_a_file_of_something_else_is_refused_and_kept(tmp_path: Path, found: str, says: str) -> None:
    results = tmp_path / "results.txt"
    results.write_text(found)
    with pytest.raises(BadInput, match=says):
        memdoctor.sweep(program(tmp_path), sizes=[8], cards=["64MiB"], results=results)
    assert results.read_text() == found


def test_results_of_an_older_program_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sizes may need something else by now."""
    results = tmp_path / "sweep.jsonl"
    monkeypatch.setattr("memdoctor.batch_trial.Trials.run", lambda trials, request: Outcome(card="64MiB"))
    memdoctor.sweep(program(tmp_path), sizes=[8], cards=["64MiB"], results=results)
    changed = program(tmp_path, HOLDS_2_MIB_A_SAMPLE + "\n")
    with pytest.raises(BadInput, match="is of an older .*train.py:make_step"):
        memdoctor.sweep(changed, sizes=[8], cards=["64MiB"], results=results)


def test_an_error_of_the_program_ends_the_sweep(tmp_path: Path) -> None:
    before = psutil.Process().children(recursive=True)
    fails = "def make_step(n): raise ValueError('labels start at 1')"
    with pytest.raises(BadInput, match="not for memory: ValueError: labels start at 1"):
        memdoctor.sweep(program(tmp_path, fails), sizes=[8, 16, 32], cards=["64MiB"], processes=1)
    assert set(psutil.Process().children(recursive=True)) <= set(before)


@pytest.mark.parametrize(("sizes", "cards"), [pytest.param([], ["64MiB"], id="no size"),
                                              pytest.param([8], [], id="no card")])
def test_nothing_to_try_is_refused(tmp_path: Path, sizes: list[int], cards: list[str]) -> None:
    with pytest.raises(BadInput, match="has no points"):
        memdoctor.sweep(program(tmp_path), sizes=sizes, cards=cards)


def test_an_unknown_card_is_refused_before_a_process_starts(tmp_path: Path) -> None:
    with pytest.raises(UnknownCard, match="rtx9999"):
        memdoctor.sweep(program(tmp_path), sizes=[8], cards=["64MiB", "rtx9999"])


def test_without_ray_the_next_step_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "memdoctor.sweep_ray", raising=False)
    with pytest.raises(BadInput) as refused:
        memdoctor.sweep(program(tmp_path), sizes=[8], cards=["64MiB"], on_ray=True)
    assert refused.value.next_step == "Install it: pip install 'torch-memdoctor[ray]'; or leave --ray out."


def test_ctrl_c_leaves_no_process_behind_and_keeps_what_is_done(tmp_path: Path) -> None:
    """The first size ends, the second hangs."""
    waits = "    import time; time.sleep(1000 * (batch_size > 8))\n    return"
    hangs = HOLDS_2_MIB_A_SAMPLE.replace("    return", waits)
    results = tmp_path / "sweep.jsonl"
    command = psutil.Popen([sys.executable, "-m", "memdoctor", "sweep", program(tmp_path, hangs), "--sizes", "8,16",
                            "--cards", "64MiB", "--results", str(results), "--processes", "1"], stderr=-1)
    while not (results.exists() and len(results.read_text().splitlines()) == 2):
        with pytest.raises(psutil.TimeoutExpired):
            command.wait(timeout=0.1)
    started = command.children(recursive=True)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    assert errors.decode().splitlines()[-1] == "memdoctor: interrupted."
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert len(results.read_text().splitlines()) == 2


IN_A_CLUSTER = """
import ray, sys
import memdoctor
from memdoctor.reports.sweep_json import sweep_json

if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    result = memdoctor.sweep("train.py:make_step", sizes=[8, 33], cards=["64MiB", "96MiB"], on_ray=True)
    assert ray.is_initialized(), "a cluster that the program is connected to stays"
    print(sweep_json(result))
    ray.shutdown()
"""


@needs_ray
def test_on_ray_the_results_are_the_same(tmp_path: Path) -> None:
    """A real cluster on this machine with two workers, whose trials run in four processes of their own."""
    notes = f"    open({str(tmp_path)!r} + f'/{{os.getpid()}}.trial', 'w').close()\n    return"
    program(tmp_path, HOLDS_2_MIB_A_SAMPLE.replace("    return", notes))
    (tmp_path / "cluster.py").write_text(IN_A_CLUSTER, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "cluster.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(memdoctor.__file__).parent.parent)},
    )
    assert run.returncode == 0, run.stderr
    points = json.loads(run.stdout)["points"]
    assert [tuple(point[name] for name in ("batch_size", "card", "peak_bytes", "margin_bytes"))
            for point in points] == EXPECTED
    assert len(list(tmp_path.glob("*.trial"))) == 4


@needs_ray
def test_on_ray_an_error_of_the_program_is_the_same_sentence(tmp_path: Path) -> None:
    """Ray starts on this machine for the sweep, and ends with it."""
    program(tmp_path, "def make_step(n): raise ValueError('labels start at 1')")
    run = subprocess.run(
        [sys.executable, "-m", "memdoctor", "sweep", "train.py:make_step", "--sizes", "8", "--cards", "64MiB", "--ray"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(memdoctor.__file__).parent.parent)},
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "train.py:make_step failed at batch size 8, not for memory: ValueError: labels start at 1." in run.stderr
