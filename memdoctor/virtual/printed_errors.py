"""What the program's own handlers print of an error: no frame of the virtual card, which no real card would show.

An error leaves through the mode that stands for the card, and Python adds its frame on the way out, when nobody can
take it away again. So it is left out where tracebacks become text, for the `traceback` module, `logging` and what is
built on them.
"""

from __future__ import annotations

import functools
import os
import traceback
from types import TracebackType
from typing import Any

from memdoctor.virtual.patches import Patches

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


def patch_printed_errors(patches: Patches) -> None:
    """Until the patches are undone."""
    original = traceback.TracebackException.__init__

    @functools.wraps(original)
    def init(self: Any, kind: Any, error: Any, trace: TracebackType | None, *args: Any, **kwargs: Any) -> None:
        original(self, kind, error, _without_the_cards(trace), *args, **kwargs)

    patches.set(traceback.TracebackException, "__init__", init)


def _without_the_cards(trace: TracebackType | None) -> TracebackType | None:
    """Its frames are unlinked for good, as on a real card they would not be there."""
    while trace is not None and _is_the_cards(trace):
        trace = trace.tb_next
    entry = trace
    while entry is not None:
        following = entry.tb_next
        while following is not None and _is_the_cards(following):
            following = following.tb_next
        if following is not entry.tb_next:
            entry.tb_next = following
        entry = following
    return trace


def _is_the_cards(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_FOLDER)
