"""What a program prints of its own errors, stacks and warnings, without the frames that memdoctor adds to them.

An error leaves through functions of memdoctor that stand in for PyTorch's, and Python adds their frames on the way out,
when nobody can take them away again. So they are left out where a traceback becomes text: in the `traceback` module,
with `logging` and all that is built on it, and in the interpreter's hooks for threads and finalizers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from memdoctor.foundation.tracebacks import OUR_FOLDER, chain_without_our_frames

_WALKS = ("walk_tb", "_walk_tb_with_full_positions", "walk_stack")
_STARTS_PROGRAMS = os.path.join(OUR_FOLDER, "run.py")
"""Below its frame a stack is only how `memdoctor run` was started."""


class _PrintedWithoutOurFrames:
    """One for the process, and counted: a profile and a virtual card may end in any order."""

    def __init__(self) -> None:
        self._users = 0
        self._lock = threading.Lock()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._install()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._undo.close()

    def _install(self) -> None:
        for name in _WALKS:
            if hasattr(traceback, name):
                self._replace(traceback, name, _leaving_ours_out)
        self._replace(threading, "excepthook", _told_without_ours)
        self._replace(sys, "unraisablehook", _told_without_ours)
        if hasattr(warnings, "_showwarnmsg"):
            self._replace(warnings, "_showwarnmsg", _about_the_caller)

    def _replace(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        replaced = wrap(original)
        setattr(owner, name, replaced)
        self._undo.callback(_put_back, owner, name, replaced, original)


printed_without_our_frames = _PrintedWithoutOurFrames()
"""For the time of a `with`; may be entered again within."""


def _put_back(owner: Any, name: str, replaced: Any, original: Any) -> None:
    """Unless the program has put something of its own there meanwhile."""
    if getattr(owner, name) is replaced:
        setattr(owner, name, original)


def _leaving_ours_out(walk: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
    def of_the_program(start: Any) -> Iterator[Any]:
        """Pytest asks for one frame after the other, also for the last one where that is ours."""
        are_all_ours = True
        for step in walk(start):
            filename = step[0].f_code.co_filename
            if filename == _STARTS_PROGRAMS and walk.__name__ == "walk_stack":
                return
            if not filename.startswith(OUR_FOLDER):
                are_all_ours = False
                yield step
        if are_all_ours:
            yield from walk(start)

    return lambda start: walk(start) if start is None else of_the_program(start)  # None counts callers


def _told_without_ours(hook: Callable[[Any], object]) -> Callable[[Any], None]:
    def hook_of_the_program(unhandled: Any) -> None:
        if unhandled.exc_value is not None:
            chain_without_our_frames(unhandled.exc_value)
        hook(unhandled)

    return hook_of_the_program


def _about_the_caller(show: Callable[[Any], None]) -> Callable[[Any], None]:
    """A function that warns of its caller found memdoctor's, which stands in for it; one place that all pass."""
    def _showwarnmsg(message: Any) -> None:
        if message.filename.startswith(OUR_FOLDER) and (caller := _caller_of_ours(sys._getframe(1))) is not None:
            message.filename, message.lineno = caller.f_code.co_filename, caller.f_lineno
        show(message)

    return _showwarnmsg


def _caller_of_ours(frame: FrameType | None) -> FrameType | None:
    """Outwards past whoever warns, then past ours."""
    for is_ours in (False, True):
        while frame is not None and frame.f_code.co_filename.startswith(OUR_FOLDER) == is_ours:
            frame = frame.f_back
    return frame
