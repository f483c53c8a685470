"""Puts the edits of findings into text: everything else stays as it was, line ends included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from memdoctor.foundation.findings import Edit
from memdoctor.scanning.reading import Unreadable, encoding_of

_LINE_END = re.compile("\r\n|\r|\n")


def edited(data: bytes, edits: Iterable[Edit]) -> bytes:
    """Source with the edits applied. Raises `Unreadable` for an encoding that does not survive the round trip."""
    encoding = encoding_of(data)
    text = data.decode(encoding)
    if text.encode(encoding) != data:
        raise Unreadable(f"not fixed: {encoding} text that cannot be written back as it was")
    return edited_text(text, edits).encode(encoding)


def edited_text(text: str, edits: Iterable[Edit]) -> str:
    """The same for text; an edit that adds a line gives it the line end of the line that it is put into."""
    ends = list(_LINE_END.finditer(text))
    starts = [0, *(end.end() for end in ends), len(text)]
    for edit in sorted(set(edits), key=lambda edit: (edit.line, edit.column), reverse=True):
        start, end = (_offset(starts, *place) for place in ((edit.line, edit.column), (edit.end_line, edit.end_column)))
        newline = ends[min(edit.line, len(ends)) - 1].group() if ends else "\n"
        text = text[:start] + edit.text.replace("\n", newline) + text[end:]
    return text


def overlap(one: Edit, other: Edit) -> bool:
    """They touch, so that the second would be put into what the first has changed."""
    starts, ends = (one.line, one.column), (one.end_line, one.end_column)
    return starts <= (other.end_line, other.end_column) and (other.line, other.column) <= ends


def _offset(starts: Sequence[int], line: int, column: int) -> int:
    """Of a line and column from 1; a line behind the last one is the end of the text."""
    return starts[min(line, len(starts)) - 1] + column - 1
