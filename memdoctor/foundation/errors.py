"""Every error that memdoctor raises on purpose.

::

    MemdoctorError            exit code 3: memdoctor itself failed
    └── BadInput              exit code 2: something that was typed, or a file that was named
        ├── BadSize           not a size; also a ValueError
        ├── UnknownCard       no card of that name in the catalogue
        ├── UnknownRule       no rule of that code or name
        └── UnreadableRun     a recording that is broken, or newer than this memdoctor

A message says what was found in the user's words, and the next step.
"""

from __future__ import annotations


class MemdoctorError(Exception):
    """Ends a command with `exit_code`; the command line prints the message without a traceback."""

    exit_code = 3

    def __init__(self, found: str, next_step: str = "") -> None:
        super().__init__(f"{found}\n{next_step}" if next_step else found)
        self.found = found
        self.next_step = next_step


class BadInput(MemdoctorError):
    """What was typed, or a file that was named, cannot be used."""

    exit_code = 2


class BadSize(BadInput, ValueError):
    """The text is not a size in bytes."""


class UnknownCard(BadInput):
    """No card of that name is in the catalogue."""


class UnknownRule(BadInput):
    """No rule has that code or name."""


class UnreadableRun(BadInput):
    """A recording is broken, or was written by a newer memdoctor."""
