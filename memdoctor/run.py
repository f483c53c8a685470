"""Runs an unmodified script under a profile, on the real or the virtual GPU."""

from __future__ import annotations

import builtins
import contextlib
import importlib.machinery
import importlib.util
import os
import runpy
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.runs import RunReport
from memdoctor.foundation.tracebacks import chain_without_our_frames
from memdoctor.profile import Profile
from memdoctor.python_file import compiled
from memdoctor.sensing.allocator import has_card
from memdoctor.virtual.gpu import virtual_gpu

DEFAULT_CARD = "a100-40gb"
NO_CARD = "none"
"""`--virtual none`: the machine as it is."""


@dataclass(frozen=True)
class Outcome:
    """What a script left behind."""

    report: RunReport
    error: BaseException | None
    """What ended it, `SystemExit` included, with a traceback that begins in the script; None if it ran to its end."""


def choose_card(asked: str | None) -> str:
    """The card that was asked for, else `none` where there is a real one, else the default."""
    if asked is not None:
        return asked
    return NO_CARD if has_card() else DEFAULT_CARD


def run(
    script: str, arguments: Sequence[str], *, module: bool, card: str, output: Path | None,
    values: Literal["zeros", "real"] = "zeros", devices: int = 1, at: int | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run a script (or, with `module`, a module) as `python` would; `on_start` is called when nothing is in its way.

    `values` and `devices` as for `virtual_gpu`, `at` as for `Profile`.

    Raises `BadInput` if there is nothing to run, if the card is unknown, or if `output` cannot be written; whatever
    the script raises is part of the outcome.
    """
    if card == NO_CARD and devices > 1:
        raise BadInput(f"--devices {devices} counts virtual cards, and there is none.", "Name one: --virtual a100-40gb")
    prof = Profile(output=output, program=shlex.join([script, *arguments]), at=at)
    error: BaseException | None = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_as_main(script, arguments, first_path=os.getcwd() if module else _folder(script)))
        start = _module_starter(script) if module else _script_starter(script)
        if card != NO_CARD:
            stack.enter_context(virtual_gpu(card, values=values, devices=devices))
        prof.__enter__()  # not `with`: what memdoctor raises here is no part of the script's outcome
        on_start()
        try:
            start()
            _wait_for_threads()
        except BaseException as raised:  # SystemExit and KeyboardInterrupt too: the report comes first
            error = chain_without_our_frames(raised)
        prof.__exit__(None, error, None)
    return Outcome(prof.report, error)


def _script_starter(script: str) -> Callable[[], None]:
    code = compiled(script, example="memdoctor run train.py")

    def start() -> None:
        main = _main_module(code.co_filename)
        sys.modules["__main__"] = main
        exec(code, main.__dict__)  # noqa: S102  # running it is what was asked for

    return start


def _module_starter(name: str) -> Callable[[], None]:
    if not _exists(name):
        raise BadInput(f"There is no module named {name!r} here.", "Name a module as `python -m` takes it.")

    def start() -> None:
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return start


def _exists(name: str) -> bool:
    """Looking for `package.module` imports the package; what that raises is for the run to show."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        return error.name is not None and not name.startswith(error.name)
    except ValueError:
        return False
    except Exception:
        return True


def _main_module(path: str) -> ModuleType:
    """A fresh `__main__`; unlike runpy's it stays, because threads, exit handlers and pickles still look for it."""
    main = ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__.update(__builtins__=builtins, __cached__=None, __annotations__={})
    return main


@contextlib.contextmanager
def _as_main(script: str, arguments: Sequence[str], *, first_path: str) -> Iterator[None]:
    """`sys.argv` and `sys.path` as the script would find them without memdoctor."""
    argv, path = sys.argv[:], sys.path[:]
    sys.argv[:] = [script, *arguments]
    sys.path[0] = first_path
    try:
        yield
    finally:
        sys.argv[:], sys.path[:] = argv, path


def _wait_for_threads() -> None:
    """As the interpreter does at its end; what they do belongs to the run."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def _folder(script: str) -> str:
    return os.path.dirname(os.path.realpath(script))
