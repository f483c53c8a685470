"""Local variables of frames, without leaving anything behind in them.

Up to Python 3.12 reading `f_locals` stores a snapshot in the frame, which keeps objects alive after the function has
deleted them. The snapshot is emptied of them at once, unless somebody else holds it: then it is his, from `locals()`.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from types import FrameType

_OURS_AND_THE_FRAMES = 3
"""References to a snapshot that nobody else holds: the frame's, the variable here, the argument of `getrefcount`."""


def is_module(frame: FrameType) -> bool:
    """True if the frame's locals are the globals of a module."""
    return frame.f_code.co_name == "<module>"


def local_variables(frame: FrameType) -> list[tuple[str, object]]:
    """Names and values, in the order in which the function first assigns them."""
    visible = frame.f_locals
    variables = list(visible.items())
    code = frame.f_code
    is_snapshot = type(visible) is dict and code.co_flags & inspect.CO_OPTIMIZED  # a proxy from Python 3.13 on
    if is_snapshot and sys.getrefcount(visible) <= _OURS_AND_THE_FRAMES:
        for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            visible.pop(name, None)
    return variables


def qualified_name(frame: FrameType) -> str:
    """`Trainer.fit`; before Python 3.11 only `fit`."""
    code = frame.f_code
    return str(getattr(code, "co_qualname", code.co_name))


_STANDARD_LIBRARY = os.path.dirname(threading.__file__) + os.sep


def other_threads_wait() -> bool:
    """False while another thread is at work, so that a list of all objects must not be asked for.

    Such a list refers to tuples that are still being made, and `tuple(iterator)` then fails with a SystemError in
    the thread that makes it. A thread that waits stands in `threading`, `queue`, `selectors` or the like.
    """
    own = threading.get_ident()
    innermost = (frame.f_code.co_filename for thread, frame in sys._current_frames().items() if thread != own)
    return all(name.startswith((_STANDARD_LIBRARY, "<frozen ")) and "-packages" not in name for name in innermost)
