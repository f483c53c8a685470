"""Sizes as text, in and out; nothing else in memdoctor formats or parses bytes.

Binary and decimal units are told apart: `24GiB` is 24 * 2**30 and `80 GB` is 80 * 10**9. A bare letter (`24G`) is
binary, as in `docker`, `java -Xmx` and Slurm, whose users write it.
"""

from __future__ import annotations

import re
from fractions import Fraction

from memdoctor.foundation.errors import BadSize

KIB = 2**10
MIB = 2**20
GIB = 2**30

_LETTERS = "KMGTP"
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(?:([KMGTP])(i?B)?|(B|bytes?))?\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Read `24GiB`, `24G`, `80 GB`, `512 MiB` or `1048576`; never negative, rounded down to whole bytes.

    Raises `BadSize` for anything else.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadSize(f"{text!r} is not a size.", "Write a number and a unit: 24GiB, 24G, 80 GB, 512MiB.")
    number, letter, suffix, _ = match.groups()
    return int(Fraction(number) * _factor(letter, suffix))


def _factor(letter: str | None, suffix: str | None) -> int:
    if letter is None:
        return 1
    decimal = suffix is not None and suffix.lower() == "b"
    return int((1000 if decimal else 1024) ** (_LETTERS.index(letter.upper()) + 1))


def format_bytes(count: int) -> str:
    """Write a size in the unit that leaves one to four digits before the point: `512 B`, `1.5 KiB`, `39.6 GiB`."""
    size, unit = abs(float(count)), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024 or unit == "PiB":
            break
        size /= 1024
    digits = f"{size:.0f}" if unit == "B" else f"{size:.1f}"
    return f"{'-' if count < 0 else ''}{digits} {unit}"
