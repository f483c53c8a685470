"""Sizes by cards: what was tried, and the file that lets a broken sweep go on where it stopped.

The file is JSON lines, a header and then each point in the order in which it ended; a last line that is not whole, as a
killed process leaves it, does not count.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from memdoctor.foundation.errors import BadInput, UnreadableRun
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.records import dump, load, plain, rebuild


@dataclass(frozen=True)
class SweepPoint:
    """One batch size on one card, tried with whole training steps."""

    batch_size: int
    card: str
    """As it was asked for."""
    fits: bool
    peak_bytes: int | None
    """The most that was allocated at once; None where the card was full."""
    margin_bytes: int | None
    """What the card has beyond the peak; None where it was full."""
    seconds: float
    """Of the trial, without the start of its process."""
    skipped: tuple[Skipped, ...] = ()

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from the other points of its sweep."""
        return self.batch_size, self.card


@dataclass(frozen=True)
class SweepHeader:
    """Which program the points are of."""

    program: str
    """As the user would type it."""
    digest: str
    """SHA-256 of its file; files that this one imports are not looked at."""


@dataclass(frozen=True)
class Sweep:
    """All points that were asked for, by card and then by size, in the order in which they were named."""

    program: str
    points: tuple[SweepPoint, ...]


class SweepFile:
    """Points that are done, in memory and, with a path, on disk as soon as they are added."""

    def __init__(self, path: Path | None, header: SweepHeader) -> None:
        """Raises `BadInput` if the file is of another program, or cannot be read or written."""
        self._path = path
        self.done: dict[tuple[int, str], SweepPoint] = {}
        if path is None:
            return
        lines = _whole_lines(path)
        if lines:
            _check_same(path, header, lines[0])
            points = (rebuild(SweepPoint, json.loads(line)) for line in lines[1:])
            self.done = {point.key: point for point in points}
        _write(path, "w", [json.dumps(dump(header)), *lines[1:]])

    def add(self, point: SweepPoint) -> None:
        """It is in the file when this returns."""
        self.done[point.key] = point
        if self._path is not None:
            _write(self._path, "a", [json.dumps(plain(point))])


def _whole_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.", "Name a file that a sweep wrote, or a new one.") from error


def _check_same(path: Path, header: SweepHeader, first_line: str) -> None:
    try:
        found = load(SweepHeader, json.loads(first_line))
    except (UnreadableRun, ValueError) as error:
        raise BadInput(f"{path} is no file of a sweep.", "Name one, or a file that does not exist yet.") from error
    if found != header:
        was = f"is of {found.program}" if found.program != header.program else f"is of an older {header.program}"
        raise BadInput(f"{path} {was}.", "Name another file for the results, or delete this one.")


def _write(path: Path, mode: str, lines: list[str]) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}.", "Name a file in a folder of yours.") from error
