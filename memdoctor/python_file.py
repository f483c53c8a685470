"""A Python file that the user names: read and compiled as `python` would, but not yet run."""

from __future__ import annotations

import os
from pathlib import Path
from types import CodeType

from memdoctor.foundation.errors import BadInput


def compiled(path: str, *, example: str) -> CodeType:
    """The code of the file, under its absolute path, which is what tracebacks and `linecache` show.

    Raises `BadInput` for a folder, for what cannot be read, and for what is not Python; `example` is what the user
    could have typed instead.
    """
    if os.path.isdir(path):
        raise BadInput(f"{path} is a folder.", f"Name a file in it: {example}")
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", f"Name a Python file: {example}") from None
    try:
        return compile(text, os.path.abspath(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"{path} is not Python: {error}.", f"`python {path}` says the same.") from None
