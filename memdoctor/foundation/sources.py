"""The user's source text, as the interpreter knows it: of files, and of a notebook's cells."""

from __future__ import annotations

import functools
import linecache


@functools.lru_cache(maxsize=32)
def source_of(path: str) -> str | None:
    """The whole text; None where there is none, as for what was typed into a prompt."""
    return "".join(linecache.getlines(path)) or None
