"""A Jupyter notebook as one Python program, and its findings back in their cells.

The code cells follow each other, line by line, so that a function of one cell is known in the next. Lines that only
IPython understands (`%magic`, `!command`, `name?`) become `pass`; a cell that is none the less not Python is skipped.
Cells are numbered from 1 and all kinds count, as in a reader that goes down the page.
"""

from __future__ import annotations

import ast
import bisect
import dataclasses
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memdoctor.foundation.findings import Advice, Edit, Finding, Skipped
from memdoctor.scanning.reading import Unreadable

_PYTHON_CELL_MAGICS = frozenset("time timeit capture prun debug".split())
"""Cell magics whose cell is Python that runs in the notebook's own process."""
_CELL_MAGIC = re.compile(r"\s*%%\s*(\w+)")
_CELL_MAGIC_LINE = re.compile(r"%%.*")
_LINE = re.compile(r"(?P<indentation>\s*)(?:%\w|!|\?+\w|[\w.]+\?+\s*$)")
_ASSIGNED = re.compile(r"(?P<target>\s*[\w., \[\]]+=\s*)[%!]\w")
_NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Program:
    """The code cells of a notebook as one text."""

    text: str
    first_lines: tuple[int, ...]
    """Of each code cell, in `text`, from 1."""
    numbers: tuple[int, ...]
    """Of each code cell, in the notebook, from 1."""
    stand_ins: frozenset[int]
    """The lines of `text` that are not what the notebook says."""
    skipped: tuple[Skipped, ...]

    def in_cell(self, finding: Finding) -> Finding:
        """The same finding with lines that count within its cell, those of its edits too."""
        place = finding.location
        if place is None:
            return finding
        index = bisect.bisect_right(self.first_lines, place.line) - 1
        before = self.first_lines[index] - 1
        end_line = None if place.end_line is None else place.end_line - before
        moved = dataclasses.replace(place, line=place.line - before, end_line=end_line, cell=self.numbers[index])
        advice = self._advice_in_cell(finding.advice, index) if finding.advice else None
        return dataclasses.replace(finding, location=moved, advice=advice)

    def _advice_in_cell(self, advice: Advice, index: int) -> Advice:
        """Without its edits if they would change another cell, or a line that the notebook does not have."""
        before = self.first_lines[index] - 1
        end = [*self.first_lines[1:], math.inf][index]
        lines = {line for edit in advice.edits for line in (edit.line, _last_line(edit))}
        if lines & self.stand_ins or not all(before < line < end for line in lines):
            return dataclasses.replace(advice, edits=())
        return dataclasses.replace(advice, edits=tuple(_moved(edit, -before) for edit in advice.edits))


def _last_line(edit: Edit) -> int:
    """The last one of which it takes a character."""
    return edit.end_line - 1 if edit.end_column == 1 and edit.end_line > edit.line else edit.end_line


def _moved(edit: Edit, lines: int) -> Edit:
    return dataclasses.replace(edit, line=edit.line + lines, end_line=edit.end_line + lines)


def program_of(path: str, data: bytes) -> Program:
    """The program in a notebook of format 4. Raises `Unreadable` for other files and other languages."""
    lines: list[str] = []
    firsts, numbers, skipped = [], [], []
    stand_ins: set[int] = set()
    for number, source in _code_cells(data):
        firsts.append(len(lines) + 1)
        numbers.append(number)
        program = _python_of(source)
        if program is None:
            skipped.append(Skipped(f"{path}:cell {number}", "not Python 3"))
        plain = ["pass"] if program is None else program.split("\n")
        pairs = enumerate(zip(plain, source.split("\n")), len(lines) + 1)
        stand_ins.update(line for line, (new, old) in pairs if new != old)
        lines += plain
    return Program("\n".join(lines), tuple(firsts), tuple(numbers), frozenset(stand_ins), tuple(skipped))


def _code_cells(data: bytes) -> Iterator[tuple[int, str]]:
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
        language = _language(notebook)
        cells = [(number, _source(cell)) for number, cell in enumerate(notebook["cells"], 1) if _is_code(cell)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("not a notebook of format 4") from error
    if language != "python":
        raise Unreadable(f"a notebook in {language}")
    yield from cells


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata", {})
    named = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    return str(named or "python").lower()


def _is_code(cell: dict[str, Any]) -> bool:
    return bool(cell["cell_type"] == "code")


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"]).replace("\r\n", "\n").replace("\r", "\n")


def _python_of(cell: str) -> str | None:
    """The cell, with as many lines, as Python; None if it is not."""
    if _parses(cell):
        return cell
    magic = _CELL_MAGIC.match(cell)
    if magic:
        if magic[1] not in _PYTHON_CELL_MAGICS:
            return "\n" * cell.count("\n")
        cell = _CELL_MAGIC_LINE.sub("", cell, count=1)
    plain = "\n".join(_plain_lines(cell))
    return plain if _parses(plain) else None


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except _NOT_PYTHON:
        return False
    return True


def _plain_lines(cell: str) -> Iterator[str]:
    """Without what only IPython understands; a command may go on in lines after a backslash."""
    goes_on = False
    for line in cell.split("\n"):
        if goes_on:
            goes_on = line.endswith("\\")
            yield ""
            continue
        plain = _plain_line(line)
        goes_on = plain != line and line.endswith("\\")
        yield plain


def _plain_line(line: str) -> str:
    alone, assigned = _LINE.match(line), _ASSIGNED.match(line)
    if alone:
        return f"{alone['indentation']}pass"
    return f"{assigned['target']}None" if assigned else line
