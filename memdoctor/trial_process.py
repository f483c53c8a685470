"""Where trials run: `python -m memdoctor.trial_process` imports torch once and forks a process for each order it reads.

An order is a line of JSON on standard input. Two numbers answer it on standard output: the trial's process id at once,
its exit code when it has ended. What the trial found out is in the file that the order names.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

from memdoctor.batch_trial import Outcome, Request
from memdoctor.foundation.errors import MemdoctorError
from memdoctor.foundation.records import plain, rebuild
from memdoctor.foundation.tracebacks import chain_without_our_frames
from memdoctor.trial_steps import measured

_GRACE_SECONDS = 5.0
"""After the answer is written: what a program does at its end may take for ever."""

_PR_SET_PDEATHSIG = 1
"""Of prctl(2), from linux/prctl.h."""


def main() -> None:
    """Serve until there are no more orders."""
    _end_with_parent()
    importlib.import_module("torch._dynamo")  # every optimizer imports it
    gc.freeze()  # or the collector would touch, and so copy, every page of it in each trial
    for line in sys.stdin:
        order = json.loads(line)
        trial = _forked()
        if trial == 0:
            _try(order)
            _leave()
        print(trial, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(trial, 0)[1]), flush=True)


def _forked() -> int:
    """0 in the trial, which leads a process group of its own so that its workers can be ended with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of numpy's BLAS, which knows of forks
        trial = os.fork()
    os.setpgid(trial, trial)
    return trial


def _try(order: dict[str, Any]) -> None:
    _end_with_parent()
    _redirect(is_quiet=order["is_quiet"])
    os.chdir(order["directory"])
    request = rebuild(Request, order["request"])
    os.environ.update(request.environment or {})
    outcome = answer(request)
    sys.stdout.flush()
    Path(order["answer"]).write_text(json.dumps(plain(outcome)), encoding="utf-8")


def _leave() -> None:
    """Clean up as the program would at its end; taking the interpreter apart after that costs more than the trial."""
    deadline = threading.Timer(_GRACE_SECONDS, os._exit, (0,))
    deadline.daemon = True
    deadline.start()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def answer(request: Request) -> Outcome:
    """What a trial found out; a refusal of the user's program is an answer too, its traceback goes to stderr."""
    try:
        return measured(request)
    except MemdoctorError as error:
        if error.__cause__ is not None:
            traceback.print_exception(chain_without_our_frames(error.__cause__))
        return Outcome(refusal=error.found, next_step=error.next_step)


def _redirect(*, is_quiet: bool) -> None:
    """Nothing to read, and whatever it prints to standard error, or nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere if is_quiet else 2, 1)
    if is_quiet:
        os.dup2(nowhere, 2)
    os.close(nowhere)


def _end_with_parent() -> None:
    """Whatever ends the search, `kill -9` included, ends this process as well."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
