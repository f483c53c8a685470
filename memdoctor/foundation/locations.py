"""Where in the user's source something stands."""

from __future__ import annotations

import os
from dataclasses import dataclass


def shown_path(path: str) -> str:
    """Relative to the working directory for what lies below it; the same elsewhere, as for `<stdin>`."""
    folder = os.path.join(os.getcwd(), "")
    return path.removeprefix(folder)


@dataclass(frozen=True)
class Location:
    """A range of source; lines and columns count from 1, columns in characters, as editors and SARIF do."""

    path: str
    """As the user named it, else relative to the working directory."""
    line: int
    column: int = 1
    end_line: int | None = None
    """Last line of the statement; None when only the first line is known."""
    end_column: int | None = None
    """The first column after it, in its last line; None when that is not known."""
    cell: int | None = None
    """In a notebook: the number of the cell, from 1; the line is then that within the cell."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.cell is None else f"{self.path}:cell {self.cell}:{self.line}"
