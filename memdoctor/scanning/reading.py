"""The bytes of what is scanned, as Python reads source: byte order mark, coding cookie, any line ends."""

from __future__ import annotations

import io
import os
import stat
import sys
import tokenize

from memdoctor.scanning.files import STANDARD_INPUT

LARGEST_FILE_BYTES = 10 * 2**20
"""Larger Python files are data."""


class Unreadable(Exception):
    """Why a file is left out, in words."""


def read(path: str) -> bytes:
    """All of a file, or of standard input for `-`; pipes and devices are never opened, because they may not end.

    Raises `Unreadable`.
    """
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        if status.st_size > LARGEST_FILE_BYTES:
            raise Unreadable(_too_large(status.st_size))
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error


def _too_large(size_bytes: int) -> str:
    from memdoctor.foundation.units import format_bytes  # loads `fractions`, which few scans need

    return f"{format_bytes(size_bytes)}, larger than {format_bytes(LARGEST_FILE_BYTES)}"


def decode(data: bytes) -> str:
    """The text of Python source; all line ends become newlines. Raises `Unreadable`."""
    try:
        text = data.decode(encoding_of(data))
    except SyntaxError as error:
        raise Unreadable(f"not Python {sys.version_info.major}: {error.msg}") from error
    except UnicodeDecodeError as error:
        position = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise Unreadable(f"not {error.encoding} text: {position}") from error
    return io.IncrementalNewlineDecoder(None, translate=True).decode(text, final=True)


def encoding_of(data: bytes) -> str:
    """As its byte order mark or coding cookie says, else UTF-8; `utf-8-sig` for a mark. Raises `SyntaxError`."""
    return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
