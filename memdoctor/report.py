"""Reads a recorded run and judges it again where it was cut off; needs neither torch nor the machine it ran on."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from memdoctor.analysis.diagnosis import diagnose
from memdoctor.foundation.recording import read_recording, thin
from memdoctor.foundation.runs import RunReport
from memdoctor.foundation.sources import source_of


def read_run(recording: str | Path | BinaryIO) -> RunReport:
    """The report of a `.mdoc` file or stream. Raises `UnreadableRun` if it is none, or of a newer memdoctor."""
    return diagnose(read_recording(Path(recording) if isinstance(recording, str) else recording), source_of)


def thin_run(recording: str | Path | BinaryIO, target: str | Path, *, most: int = 1000) -> None:
    """Copy a `.mdoc` file with at most so many iterations: the newest, and of older ones the largest.

    Raises `UnreadableRun` as `read_run` does, and `BadInput` if the copy cannot be written.
    """
    thin(Path(recording) if isinstance(recording, str) else recording, Path(target), most)
