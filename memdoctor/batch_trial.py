"""One trial of the batch-size finder, as the search sees it: a request, a process, an outcome.

A fresh interpreter for each size, because nothing may survive a trial: no weights, no random state, no card's cache,
no half-dead CUDA context. The request goes there on the command line and the outcome comes back in a file; what the
user's program prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.records import plain, rebuild
from memdoctor.user_function import UserFunction

IN_TRIAL = "MEMDOCTOR_IN_TRIAL"
"""Set in the environment of a trial, where another search must not begin."""

STEPS = 2
"""The optimizer's state appears at the end of the first step, so the second one shows the peak that stays."""


@dataclass(frozen=True)
class Request:
    """What to try."""

    function: UserFunction
    batch_size: int
    card: str | None
    """A name or a size for the virtual GPU; None for the real card."""


@dataclass(frozen=True)
class Outcome:
    """What a trial found out: either a refusal or the rest."""

    card: str = ""
    room_bytes: int = 0
    """What PyTorch could use of the card when the trial began."""
    fits: bool = False
    peak_bytes: int | None = None
    seconds: float = 0.0
    requests: tuple[int, ...] | None = None
    """What the steps asked of the virtual card's allocator (`virtual/allocator_requests.py`), if they fitted."""
    skipped: tuple[Skipped, ...] = ()
    refusal: str | None = None
    """Why the function cannot be tried at all, in a sentence for the user."""
    next_step: str = ""


def run_trial(request: Request, *, time_limit_seconds: float, is_quiet: bool = False) -> Outcome:
    """Run one trial to its end; no process of it is left behind, whatever ends it, Ctrl-C included.

    `is_quiet` drops what it prints, tracebacks too.
    Raises `BadInput` if the function cannot be tried, fails with anything but a full card, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="memdoctor-") as folder:
        answer = Path(folder, "outcome.json")
        with _process(request, answer, is_quiet) as process:
            try:
                code = process.wait(time_limit_seconds)
            except subprocess.TimeoutExpired:
                raise _too_slow(request, time_limit_seconds) from None
        if not answer.exists():
            raise _died(request, code)
        outcome = rebuild(Outcome, json.loads(answer.read_text(encoding="utf-8")))
    if outcome.refusal is not None:
        raise BadInput(outcome.refusal, outcome.next_step)
    return outcome


@contextlib.contextmanager
def _process(request: Request, answer: Path, is_quiet: bool) -> Iterator[subprocess.Popen[bytes]]:
    """The trial's interpreter, in a session of its own so that its workers can be ended with it."""
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "memdoctor.trial_process", json.dumps(plain(request)), str(answer)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if is_quiet else 2,
        stderr=subprocess.DEVNULL if is_quiet else None,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), IN_TRIAL: "1"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _too_slow(request: Request, limit_seconds: float) -> BadInput:
    return BadInput(
        f"{request.function} did not finish {STEPS} steps of batch size {request.batch_size} in {limit_seconds:g} s.",
        "Allow more with --time-limit SECONDS, or make the step shorter: it needs one batch, not an epoch.",
    )


def _died(request: Request, code: int) -> BadInput:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended its process with exit code {code}"
    next_step = "Call the function from a file of your own to see why."
    if code == -signal.SIGKILL:
        next_step = "Host memory ran out, most likely: make the batch on the card (device='cuda'), or lower --max."
    return BadInput(f"{request.function} {how} at batch size {request.batch_size}.", next_step)
