"""`memdoctor run` beside the same program without it, on the host and on the virtual card: it prints the same."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.recording import read_recording
from memdoctor.foundation.runs import CUT_OFF

OUR_FOLDER = str(Path(memdoctor.__file__).parent)
CARDS = {"cpu": "none", "cuda": "24GiB"}

PROGRAM = """
    import hashlib, logging, os, random, signal, sys, threading, traceback, warnings, torch

    device, ending = sys.argv[1:]
    torch.manual_seed(0)
    random.seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(0.2), torch.nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())

    def state():
        states = [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if device == "cuda" else [])]
        return *(hashlib.md5(each.cpu().numpy().tobytes()).hexdigest() for each in states), random.getstate()[1][-1]

    def train(steps):
        for step in range(steps):
            loss = model(torch.randn(32, 64).to(device)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(step, loss.item().hex(), state(), flush=True)
            if step == 8 and ending == "SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
            if step == 8 and ending == "_exit":
                os._exit(3)

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, tensor):
            return tensor * 2

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("in a backward")

    def fails_in_a_product():
        torch.zeros(2, 3, device=device) @ torch.zeros(2, 3, device=device)

    def fails_in_a_backward():
        Doubled.apply(torch.ones(2, device=device, requires_grad=True)).sum().backward()

    def fails_while_loading():
        torch.load("there is no such file")

    def fails_after_failing():
        try:
            fails_in_a_backward()
        except ValueError as error:
            raise KeyError("gave up") from error

    class Finalized:
        def __del__(self):
            fails_in_a_backward()

    train(12)
    for fails in fails_in_a_product, fails_in_a_backward, fails_while_loading, fails_after_failing:
        thread = threading.Thread(target=fails, name=fails.__name__)
        thread.start()
        thread.join()
        try:
            fails()
        except Exception as error:
            traceback.print_exc()
            sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
            logging.exception("failed", stack_info=True)
    finalized = Finalized()
    del finalized
    warnings.warn("mine")
    torch.autograd.backward([torch.ones(1, device=device, requires_grad=True)], grad_variables=None)
    print(torch.rand(1).item().hex(), random.random(), state(), flush=True)
    traceback.print_stack()
    fails_after_failing()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "train.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return path


@cache
def plain(program: Path, device: str) -> subprocess.CompletedProcess[str]:
    """Python itself; on the virtual card there is no program without memdoctor, but one that nobody watches."""
    if device == "cpu":
        return python(program, device, "")
    starter = program.with_name("plain.py")
    starter.write_text(textwrap.dedent("""
        import memdoctor, runpy, sys
        with memdoctor.virtual_gpu("24GiB"):
            runpy.run_path(sys.argv.pop(0) and sys.argv[0], run_name="__main__")
    """))
    return python(starter, program, device, "")


def watched(program: Path, device: str, ending: str = "", output: str = "run.mdoc") -> subprocess.CompletedProcess[str]:
    recording = program.with_name(output)
    return python("-m", "memdoctor", "run", "--virtual", CARDS[device], "--output", recording, program, device, ending)


def python(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=240)


def of_the_program(program: Path, printed: str) -> list[str]:
    """All lines but those of PyTorch's frames: a module that has hooks is called by another of its functions."""
    lines = re.sub(r"0x[0-9a-f]+", "0x", printed).splitlines()
    files = {number for number, line in enumerate(lines) if line.lstrip().startswith("File ")}
    others = {number for number in files if str(program) not in lines[number]}
    return [
        line for number, line in enumerate(lines)
        if number in files - others or (number not in files and not re.match(r"    ", line))
    ]


@pytest.mark.parametrize("device", CARDS)
def test_output_errors_and_random_numbers_are_those_without(program: Path, device: str) -> None:
    """Bit for bit; what it prints of its errors, also of those of threads and finalizers, shows no frame of ours."""
    without, under = plain(program, device), watched(program, device)
    assert without.stdout.count("\n") == 13
    assert under.stdout.startswith(f"{without.stdout}\nmemdoctor: No leak")
    assert OUR_FOLDER not in under.stderr + without.stderr
    assert of_the_program(program, under.stderr) == of_the_program(program, without.stderr)
    assert under.returncode == without.returncode == 1


@pytest.mark.parametrize("device", CARDS)
@pytest.mark.parametrize(("ending", "code"), [("SIGTERM", -signal.SIGTERM), ("_exit", 3)])
def test_a_program_that_ends_at_once_ends_so_and_is_recorded_until_then(
    program: Path, device: str, ending: str, code: int
) -> None:
    done = watched(program, device, ending)
    assert (done.returncode, done.stderr.replace("\n", "")) == (code, "")
    assert done.stdout.splitlines() == plain(program, device).stdout.splitlines()[:9]
    run = read_recording(program.with_name("run.mdoc"))
    assert run.end.outcome == CUT_OFF and len(run.timeline.readings) == 9
