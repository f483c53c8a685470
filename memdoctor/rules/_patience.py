"""How long one file may take: a question that would never be answered is given up.

Counted in processor time of the thread, so that a busy machine or a stopped process makes no difference, and asked for
in the loops whose length is not that of the file. No signal and no thread: who calls `memdoctor.scan` notices nothing.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar

_ends: ContextVar[tuple[float, float]] = ContextVar("ends", default=(math.inf, math.inf))
"""By the clock on the wall, which is cheap to ask, and in processor time of the thread."""


class OutOfPatience(Exception):
    """A file has taken longer than it may."""


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """What runs inside may take that long."""
    token = _ends.set((time.perf_counter() + seconds, time.thread_time() + seconds))
    try:
        yield
    finally:
        _ends.reset(token)


def check_time() -> None:
    """Raises `OutOfPatience` when the time is over."""
    wall, processor = _ends.get()
    if time.perf_counter() > wall and time.thread_time() > processor:
        raise OutOfPatience
