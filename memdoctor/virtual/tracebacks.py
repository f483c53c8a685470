"""Keeps memdoctor's own frames, and the tensors in their locals, out of the user's exceptions.

On a card the operands of a failed operator die while the exception travels up; a frame of ours in its traceback would
keep them alive, and the handler that frees memory and retries would fail here and not there.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TypeVar

_OUR_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")

Error = TypeVar("Error", bound=BaseException)


def without_our_frames(error: Error) -> Error:
    """Relink the traceback past every frame of this folder; the user's frames stay as they are."""
    kept = [entry for entry in _entries(error.__traceback__) if not _is_ours(entry)]
    for entry, following in zip(kept, [*kept[1:], None]):
        entry.tb_next = following
    return error.with_traceback(kept[0] if kept else None)


def _entries(entry: TracebackType | None) -> list[TracebackType]:
    found = []
    while entry is not None:
        found.append(entry)
        entry = entry.tb_next
    return found


def _is_ours(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_OUR_FOLDER)
