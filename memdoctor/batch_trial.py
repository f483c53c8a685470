"""One trial of the batch-size finder, as the search sees it: a request, a process, an outcome.

A fresh process for each size, because nothing may survive a trial: no weights, no random state, no card's cache, no
half-dead CUDA context. The request goes there through a pipe and the outcome comes back in a file; what the user's
program prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from memdoctor.foundation.errors import BadInput, MemdoctorError
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.records import plain, rebuild
from memdoctor.user_function import UserFunction
from memdoctor.user_script import UserScript

IN_TRIAL = "MEMDOCTOR_IN_TRIAL"
"""Set in the environment of a trial, where another search must not begin."""

STEPS = 3
"""The optimizer's state appears at the end of the first step, the cache settles in the second, the third is like all
that follow."""

WARM_UP = STEPS - 1
"""An allocator that still empties its cache after so many steps does it in every step, at a synchronization each."""

_FAREWELL_SECONDS = 5.0
"""For a process that may still be importing torch when a search is interrupted."""

Shapes = tuple[tuple[int, ...], ...]
"""Of the tensors that the first modules of a step were called with."""


@dataclass(frozen=True)
class Request:
    """What to try: a function or a script, one of them."""

    batch_size: int
    """Or the size along `axis`."""
    card: str | None
    """A name or a size for the virtual GPU; None for the real card."""
    function: UserFunction | None = None
    script: UserScript | None = None
    axis: str = ""
    """The name of the argument that gets the size; empty where that is the function's first."""
    at: dict[str, int] | None = None
    """Further arguments of the function, which stay as they are."""
    margin: float = 0.0
    """The part of the card that has to stay free."""
    is_endless: bool = False
    """The virtual card is never full, so that what steps of any size ask for can be recorded."""
    in_copy: bool = False
    """The program runs in a copy of the working directory, without `.git` and virtual environments."""
    environment: dict[str, str] | None = None
    """Variables that are set for the program, as a launcher of several ranks would."""

    @property
    def program(self) -> UserFunction | UserScript:
        """Its text is what the user would type."""
        program = self.function or self.script
        assert program is not None, "a request names a function or a script"
        return program

    @property
    def what(self) -> str:
        """`batch size 8`, or `seq_len 512`."""
        return f"{self.axis or 'batch size'} {self.batch_size}"


@dataclass(frozen=True)
class Outcome:
    """What a trial found out: either a refusal or the rest."""

    card: str = ""
    room_bytes: int = 0
    """What PyTorch could use of the card when the trial began, the margin taken off."""
    usable_bytes: int = 0
    """The same at its end, where it fitted: kernels and libraries that were loaded meanwhile are off it."""
    fits: bool = False
    peak_bytes: int | None = None
    first_peak_bytes: int | None = None
    """Of the first step alone, with all that was done before it."""
    seconds: float = 0.0
    step_seconds: float | None = None
    """Of the last step, where a real card took it."""
    alloc_retries: int = 0
    """How often the full card made PyTorch empty its cache after the warm-up."""
    requests: tuple[int, ...] | None = None
    """What the steps asked of the virtual card's allocator (`virtual/allocator_requests.py`), if they fitted."""
    warm_up_requests: int = 0
    """How many of them belong to the warm-up."""
    steps: int = 0
    shapes: tuple[Shapes, ...] = ()
    """One for each step after the first."""
    advice: tuple[str, ...] = ()
    """What would need less of the card, where it was full and that is known."""
    skipped: tuple[Skipped, ...] = ()
    refusal: str | None = None
    """Why the program cannot be tried at all, in a sentence for the user."""
    next_step: str = ""


class Trials:
    """Starts trials; its `with` lasts as long as a search, and leaves no process behind, whatever ends it.

    Importing torch takes seconds, so one process does that and nothing else, and each trial is a fork of it. It knows
    nothing of the user's program and has not touched CUDA, which a fork would not survive.
    """

    def __init__(self, *, time_limit_seconds: float) -> None:
        """The limit is for one trial."""
        self._limit_seconds = time_limit_seconds
        self._server: subprocess.Popen[bytes] | None = None
        self._running: int | None = None

    def __enter__(self) -> Trials:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        try:
            self._server.communicate(timeout=_FAREWELL_SECONDS)  # without orders it ends, and has buried its trials
        except subprocess.TimeoutExpired:
            _end_group(self._server.pid)
            self._server.communicate()

    def run(self, request: Request, *, is_quiet: bool = False) -> Outcome:
        """Run one trial to its end; `is_quiet` drops what it prints, tracebacks too.

        Raises `BadInput` if the program cannot be tried, fails with anything but a full card, or takes too long.
        """
        with tempfile.TemporaryDirectory(prefix="memdoctor-") as folder:
            answer = Path(folder, "outcome.json")
            code = self._run_process(request, answer, _directory_for(request, folder), is_quiet)
            if not answer.exists():
                raise _died(request, code)
            outcome = rebuild(Outcome, json.loads(answer.read_text(encoding="utf-8")))
        if outcome.refusal is not None:
            raise BadInput(outcome.refusal, outcome.next_step)
        return outcome

    def _run_process(self, request: Request, answer: Path, directory: str, is_quiet: bool) -> int:
        """The exit code of the trial, negative for a signal; its workers end with it."""
        order = {"request": plain(request), "answer": str(answer), "directory": directory, "is_quiet": is_quiet}
        server = self._server = self._server or _started()
        _tell(server, json.dumps(order))
        trial = self._running = _heard(server)
        try:
            is_in_time = _speaks_within(server, self._limit_seconds)
        finally:
            self._running = None
            _end_group(trial)
        code = _heard(server)
        if not is_in_time:
            raise _too_slow(request, self._limit_seconds)
        return code

    def stop(self) -> None:
        """End the trial that runs, if one does; for another thread than the one that waits for it."""
        trial = self._running
        if trial is not None:
            _end_group(trial)


def run_trial(request: Request, *, time_limit_seconds: float, is_quiet: bool = False) -> Outcome:
    """A single trial, with what `Trials.run` raises."""
    with Trials(time_limit_seconds=time_limit_seconds) as trials:
        return trials.run(request, is_quiet=is_quiet)


def _started() -> subprocess.Popen[bytes]:
    """The process that trials are forked from, in a session of its own, which a terminal's Ctrl-C does not reach."""
    return subprocess.Popen(
        [sys.executable, "-B", "-m", "memdoctor.trial_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), IN_TRIAL: "1"},
        bufsize=0,
        start_new_session=True,
    )


def _tell(server: subprocess.Popen[bytes], line: str) -> None:
    assert server.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended, and `_heard` says so
        server.stdin.write(line.encode() + b"\n")


def _speaks_within(server: subprocess.Popen[bytes], limit_seconds: float) -> bool:
    assert server.stdout is not None
    return bool(select.select([server.stdout], [], [], limit_seconds)[0])


def _heard(server: subprocess.Popen[bytes]) -> int:
    """The next number that it says."""
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        raise MemdoctorError("The process that starts trials has ended.", "See above why; is `import torch` possible?")
    return int(line)


def _directory_for(request: Request, folder: str) -> str:
    if not request.in_copy:
        return os.getcwd()
    return shutil.copytree(os.getcwd(), os.path.join(folder, "copy"), symlinks=True, ignore=_left_out)


def _left_out(folder: str, names: list[str]) -> list[str]:
    """What no program writes to and is large: repositories and virtual environments."""
    return [name for name in names if name == ".git" or os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))]


def _end_group(leader: int) -> None:
    assert leader > 0, "0 is the group of this process itself"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _too_slow(request: Request, limit_seconds: float) -> BadInput:
    return BadInput(
        f"{request.program} did not finish {STEPS} steps of {request.what} in {limit_seconds:g} s.",
        "Allow more with --time-limit SECONDS, or make the step shorter: it needs one batch, not an epoch.",
    )


def _died(request: Request, code: int) -> BadInput:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended its process with exit code {code}"
    next_step = "Start it without memdoctor to see why."
    if code == -signal.SIGKILL:
        next_step = "Host memory ran out, most likely: make the batch on the card (device='cuda'), or lower --max."
    return BadInput(f"{request.program} {how} at {request.what}.", next_step)
