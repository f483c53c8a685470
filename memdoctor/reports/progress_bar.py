"""How far a long command is: a bar on standard error, and nothing where that is no terminal or the work is short.

Until it has something to show, neither rich is loaded, which takes as long as a small scan, nor anything written.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

_QUIET_SECONDS = 1.0
"""What takes no longer needs no bar."""
_BETWEEN_SECONDS = 0.1


class ProgressBar:
    """To be told how much is done; gone from the terminal when the `with` ends. It has no thread."""

    def __init__(self, words: str, stream: TextIO) -> None:
        self._words = words
        self._stream = stream
        self._bar: Progress | None = None
        self._next = time.monotonic() + _QUIET_SECONDS if stream.isatty() else float("inf")

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show it, at most ten times a second."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BETWEEN_SECONDS
        self._bar = self._bar or _started(self._words, self._stream)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, refresh=True)


def _started(words: str, stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(file=stream), transient=True, auto_refresh=False)
    bar.add_task(words)
    bar.start()
    return bar
