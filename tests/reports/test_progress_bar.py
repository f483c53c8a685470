"""A bar for work that takes longer than a second, on a terminal only, and gone at the end."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from memdoctor.reports import progress_bar
from memdoctor.reports.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _written(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, seconds: float) -> str:
    """After two messages, the second that long after the start."""
    times = iter([0.0, 0.5, seconds, seconds])
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: next(times, seconds))
    monkeypatch.setenv("TERM", "xterm")
    with ProgressBar("scanning", stream) as progress:
        progress(1, 4)
        progress(2, 4)
    return stream.getvalue()


def test_long_work_on_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = _written(Terminal(), monkeypatch, 2.0)
    assert "scanning" in text and "2/4" in text
    assert "1/4" not in text


def test_short_work_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _written(Terminal(), monkeypatch, 0.9) == ""


def test_a_file_or_pipe_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _written(io.StringIO(), monkeypatch, 100.0) == ""


def test_rich_is_not_loaded_before_there_is_something_to_show() -> None:
    program = "import sys, memdoctor.reports.progress_bar; assert 'rich' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
