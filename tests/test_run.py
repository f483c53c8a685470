"""`memdoctor run` against `python`: the same program, and a report behind it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import pytest

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.recording import read_recording
from memdoctor.foundation.runs import CUT_OFF, FINISHED, INTERRUPTED, OUT_OF_MEMORY, RAISED
from memdoctor.run import NO_CARD, Outcome, run

TRAINING = """
    import hashlib, torch
    torch.manual_seed(0)
    device = torch.device({device!r})
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(0.2), torch.nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range({steps}):
        loss = model(torch.randn(32, 64).to(device)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        {each_step}
"""


def training(folder: Path, device: str = "cpu", steps: int = 12, each_step: str = "pass") -> Path:
    """A script that trains a small network and does `each_step` after each step."""
    path = folder / "train.py"
    path.write_text(textwrap.dedent(TRAINING).format(device=device, steps=steps, each_step=each_step))
    return path


def script(folder: Path, text: str) -> str:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


def run_here(path: str | Path, *arguments: str, module: bool = False, output: Path | None = None) -> Outcome:
    """In this process, on this machine's own devices."""
    return run(str(path), arguments, module=module, card=NO_CARD, output=output)


def python(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120)


def memdoctor(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "memdoctor", *words)


def test_a_script_sees_what_python_shows_it(tmp_path: Path) -> None:
    """Arguments, path and the module's own names; `__file__` is where pickles and `multiprocessing` look."""
    path = script(
        tmp_path,
        """
        import json, sys
        is_main = sys.modules["__main__"].__dict__ is globals()
        names = [__name__, __file__, sys.argv, sys.path[0], __spec__ is None, is_main]
        with open(sys.argv[2], "w") as file:
            json.dump(names, file)
        """,
    )
    python(path, "--epochs", tmp_path / "plain.json")
    run_here(path, "--epochs", str(tmp_path / "watched.json"))
    plain, watched = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "watched"))
    assert watched[2].pop() != plain[2].pop()  # each wrote a file of its own
    assert watched == plain


def test_arguments_and_path_are_put_back(tmp_path: Path) -> None:
    argv, path = sys.argv[:], sys.path[:]
    run_here(script(tmp_path, "import sys; sys.argv.append('x'); sys.path.append('y')"))
    assert (sys.argv, sys.path) == (argv, path)


def test_a_module_runs_as_with_python_m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package_of_user").mkdir()
    (tmp_path / "package_of_user" / "__main__.py").write_text("import sys; sys.exit(len(sys.argv))")
    monkeypatch.chdir(tmp_path)
    outcome = run_here("package_of_user", "a", "b", module=True)
    assert isinstance(outcome.error, SystemExit) and outcome.error.code == 3


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        pytest.param("pass", FINISHED, id="to its end"),
        pytest.param("import sys; sys.exit(0)", FINISHED, id="exit 0"),
        pytest.param("import sys; sys.exit(3)", RAISED, id="exit 3"),
        pytest.param("1 / 0", RAISED, id="an exception"),
        pytest.param("raise KeyboardInterrupt", INTERRUPTED, id="Ctrl-C"),
        pytest.param("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", OUT_OF_MEMORY, id="memory"),
    ],
)
def test_how_the_script_ended_is_in_the_report(tmp_path: Path, text: str, ended: str) -> None:
    assert run_here(script(tmp_path, text)).report.end.outcome == ended


def test_the_traceback_begins_in_the_script(tmp_path: Path) -> None:
    path = script(tmp_path, "def fail():\n    raise ValueError('mine')\nfail()\n")
    error = run_here(path).error
    assert isinstance(error, ValueError) and error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_filename == path


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        pytest.param("none.py", None, "No such file", id="no file"),
        pytest.param("broken.py", b"def (:\n", "is not Python", id="not Python"),
        pytest.param("binary.py", b"\x00\x01", "is not Python", id="binary"),
    ],
)
def test_what_cannot_be_run_is_a_sentence(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=says):
        run_here(tmp_path / name)


def test_a_folder_and_an_unknown_module_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        run_here(tmp_path)
    with pytest.raises(BadInput, match="no module named 'no_such.module'"):
        run_here("no_such.module", module=True)


def test_on_the_cpu_losses_rng_output_and_exit_code_are_those_without(tmp_path: Path) -> None:
    """Bit for bit: the watched program's output is the plain one's, then comes the report."""
    show = "print(step, loss.item().hex(), hashlib.md5(torch.get_rng_state().numpy().tobytes()).hexdigest())"
    path = training(tmp_path, steps=40, each_step=show)
    path.write_text(path.read_text() + "raise SystemExit(7)\n")
    plain, watched = python(path), memdoctor("run", "--virtual", "none", path)
    assert watched.stdout.startswith(plain.stdout) and plain.stdout.count("\n") == 40
    assert watched.stdout[len(plain.stdout):].startswith("\nmemdoctor: No leak")
    assert (watched.returncode, watched.stderr) == (plain.returncode, plain.stderr) == (7, "")


def test_an_exception_is_printed_as_python_prints_it(tmp_path: Path) -> None:
    path = script(tmp_path, "def fail():\n    raise ValueError('mine')\nfail()\n")
    plain, watched = python(path), memdoctor("run", "--virtual", "none", path)
    assert (watched.returncode, watched.stderr) == (plain.returncode, plain.stderr)
    assert watched.stdout.startswith("\nmemdoctor: the program ended before its first iteration, by ValueError: mine")


def test_out_of_memory_comes_out_unchanged_and_the_report_is_written(tmp_path: Path) -> None:
    path = training(tmp_path, "cuda", each_step="kept = torch.empty(2**step, 2**22, device=device)")
    done = memdoctor("run", "--virtual", "24GiB", "--format", "json", path)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate" in done.stderr
    assert "memdoctor" not in done.stderr
    assert report["outcome"]["outcome"] == OUT_OF_MEMORY
    assert report["iterations"] and report["peak"]["allocated_bytes"] > 2**30


TWO_CARDS = """
import torch
from torch import nn

first, second = nn.Linear(256, 256).to("cuda:0"), nn.Linear(256, 4).to("cuda:1")
optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    second(first(torch.randn(8, 256, device="cuda:0")).to("cuda:1")).sum().backward()
    optimizer.step()
if __FULL__:
    torch.empty(2**36, device="cuda:1")
"""


def test_a_model_on_two_cards_runs_on_two_virtual_ones(tmp_path: Path) -> None:
    path = script(tmp_path, TWO_CARDS.replace("__FULL__", "False"))
    done = memdoctor("run", "--virtual", "24GiB", "--devices", "2", "--format", "json", path)
    report = json.loads(done.stdout)
    assert (done.returncode, report["device"]["name"]) == (0, "2 x virtual card of 24.0 GiB")
    first, second = report["outcome"]["card_peaks"]
    assert first > second > 0 and report["peak"]["allocated_bytes"] <= first + second
    text = memdoctor("run", "--virtual", "24GiB", "--devices", "2", path).stdout
    assert "cuda:0 " in text and "cuda:1 " in text and "each at its own moment" in text


def test_the_report_of_a_full_second_card_is_about_that_card(tmp_path: Path) -> None:
    path = script(tmp_path, TWO_CARDS.replace("__FULL__", "True"))
    report = json.loads(memdoctor("run", "--virtual", "24GiB", "--devices", "2", "--format", "json", path).stdout)
    crash = report["crash"]
    assert crash["total_bytes"] == 24 * 2**30
    assert 0 < crash["allocated_bytes"] < report["peak"]["allocated_bytes"]


def test_cards_are_counted_only_where_they_are_virtual(tmp_path: Path) -> None:
    done = memdoctor("run", "--virtual", "none", "--devices", "2", script(tmp_path, ""))
    assert done.returncode == 2 and "--devices 2 counts virtual cards" in done.stderr


def test_ctrl_c_keeps_what_was_recorded_and_ends_by_the_signal(tmp_path: Path) -> None:
    stop = "import os, signal; step == 8 and os.kill(os.getpid(), signal.SIGINT)"
    path = training(tmp_path, each_step=stop)
    done = memdoctor("run", "--virtual", "none", "--output", tmp_path / "run.mdoc", path)
    run = read_recording(tmp_path / "run.mdoc")
    assert done.returncode == -signal.SIGINT
    assert run.end.outcome == INTERRUPTED and len(run.timeline.readings) == 9


def test_after_kill_9_the_recording_reads_up_to_the_last_iteration(tmp_path: Path) -> None:
    path = training(tmp_path, each_step="import os, signal; step == 8 and os.kill(os.getpid(), signal.SIGKILL)")
    done = memdoctor("run", "--virtual", "none", "--output", tmp_path / "run.mdoc", path)
    run = read_recording(tmp_path / "run.mdoc")
    assert done.returncode == -signal.SIGKILL
    assert run.end.outcome == CUT_OFF and len(run.timeline.readings) == 9


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
def test_a_report_that_cannot_be_printed_leaves_the_exit_code_alone(tmp_path: Path, redirection: str) -> None:
    words = f"{sys.executable} -m memdoctor run --virtual none {script(tmp_path, 'raise SystemExit(7)')} {redirection}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [pytest.param(["none.py"], id="no file"), pytest.param(["--output", "/no/such/run.mdoc"], id="no folder")]
)
def test_what_is_in_the_way_comes_before_any_word_about_the_gpu(tmp_path: Path, words: list[str]) -> None:
    done = memdoctor("run", *words, script(tmp_path, "pass"))
    assert done.returncode == 2 and "no GPU here" not in done.stderr
    assert done.stderr.startswith("memdoctor: ") and "cannot be" in done.stderr.splitlines()[0]


def test_a_module_that_fails_shows_its_own_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_module.py").write_text("def fail():\n    raise ValueError('mine')\nfail()\n")
    monkeypatch.chdir(tmp_path)
    error = run_here("failing_module", module=True).error
    assert error is not None and [frame.name for frame in traceback.extract_tb(error.__traceback__)] == [
        "<module>", "fail",
    ]


BUSY = """
    import threading, torch

    def train(name, lines):
        generator = torch.Generator().manual_seed(name)
        with torch.random.fork_rng():
            model = torch.nn.utils.skip_init(torch.nn.Linear, 8, 8)
        with torch.no_grad():
            model.weight.copy_(torch.randn(8, 8, generator=generator)), model.bias.zero_()
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(12):
            optimizer.zero_grad()
            loss = model(torch.randn(4, 8, generator=generator)).square().mean()
            loss.backward()
            optimizer.step()
            lines.append(loss.item().hex())

    class Noise(torch.utils.data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            return torch.randn(8) + index

    torch.manual_seed(0)
    lines = {name: [] for name in range(3)}
    threads = [threading.Thread(target=train, args=(name, lines[name])) for name in lines]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    print(lines)

    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 8))
    optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu")
    for batch in torch.utils.data.DataLoader(Noise(), batch_size=4, num_workers=2, shuffle=True):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(batch).float().square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        print(loss.item().hex(), scaler.get_scale())
    print(torch.rand(1).item().hex())
    raise SystemExit(5)
"""


def test_threads_workers_and_mixed_precision_compute_the_same_bit_for_bit(tmp_path: Path) -> None:
    path = script(tmp_path, BUSY)
    plain, watched = python(path), memdoctor("run", "--virtual", "none", path)
    assert plain.stdout.count("0x") == 3 * 12 + 16 + 1, plain.stderr
    assert watched.stdout.startswith(f"{plain.stdout}\nmemdoctor: ")
    assert (watched.returncode, watched.stderr) == (plain.returncode, plain.stderr) == (5, "")


def test_a_virtual_card_that_nothing_is_put_on_is_told(tmp_path: Path) -> None:
    path = script(tmp_path, "import torch\nmodel = torch.nn.Linear(2, 2)\nmodel(torch.ones(1, 2))\n")
    beside_a_card, without = (
        run(path, [], module=False, card=card, output=None).report.skipped for card in ("24GiB", "none")
    )
    assert [each.what for each in beside_a_card] == ["the virtual card"]
    assert without == ()
