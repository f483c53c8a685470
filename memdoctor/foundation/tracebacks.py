"""Keeps memdoctor's own frames, and the tensors in their locals, out of the user's exceptions.

On a card the operands of a failed operator die while the exception travels up; a frame of ours in its traceback would
keep them alive, and the handler that frees memory and retries would fail here and not there.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TypeVar

OUR_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_STARTERS = ("<frozen runpy>", "<frozen importlib", f"{os.sep}runpy.py", f"{os.sep}importlib{os.sep}__init__.py")
"""What loads a program: of no use to its author where it stands above the program's own frames."""

Error = TypeVar("Error", bound=BaseException)


def without_our_frames(error: Error) -> Error:
    """Relink the traceback past every frame of memdoctor, and past what started the program; the rest stays."""
    entries = _entries(error.__traceback__)
    kept = [entry for entry in entries if not _file(entry).startswith(OUR_FOLDER)]
    if len(kept) < len(entries):
        while len(kept) > 1 and _is_starter(_file(kept[0])):
            del kept[0]
    for entry, following in zip(kept, [*kept[1:], None]):
        entry.tb_next = following
    return error.with_traceback(kept[0] if kept else None)


def chain_without_our_frames(error: Error) -> Error:
    """The same for all that is printed with it: what it came from, and the members of a group."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            without_our_frames(one)
            waiting += (one.__cause__, one.__context__, *_members(one))
    return error


def _members(error: BaseException) -> tuple[BaseException, ...]:
    if sys.version_info >= (3, 11) and isinstance(error, BaseExceptionGroup):
        return error.exceptions
    return ()


def _entries(entry: TracebackType | None) -> list[TracebackType]:
    found = []
    while entry is not None:
        found.append(entry)
        entry = entry.tb_next
    return found


def _file(entry: TracebackType) -> str:
    return entry.tb_frame.f_code.co_filename


def _is_starter(filename: str) -> bool:
    return filename.startswith(_STARTERS[:2]) or filename.endswith(_STARTERS[2:])
