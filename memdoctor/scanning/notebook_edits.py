"""Puts edits into the cells of a notebook: only the lines that change are written anew, all other bytes stay.

A notebook is JSON, and writing it as JSON again would move its keys, spaces, escapes and numbers. So the places of the
strings are found in the text, with the decoder of the standard library for everything between.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memdoctor.foundation.findings import Edit
from memdoctor.scanning.edits import edited_text

_decode = json.JSONDecoder().raw_decode
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class _Value:
    """A value of the JSON, and where its text stands."""

    of: Any
    start: int
    end: int


def edited_notebook(data: bytes, edits: Mapping[int, Sequence[Edit]]) -> bytes:
    """`edits` by the number of the cell, from 1, with lines that count in it. The notebook has been read before."""
    text = data.decode("utf-8")
    begin = _after_space(text, 1 if text.startswith("\ufeff") else 0)
    cells = list(_elements(text, _member(text, begin, "cells").start))
    for number in sorted(edits, reverse=True):
        source = _member(text, cells[number - 1].start, "source")
        text = text[:source.start] + _edited_source(text, source, edits[number]) + text[source.end:]
    return text.encode("utf-8")


def _edited_source(text: str, source: _Value, edits: Sequence[Edit]) -> str:
    """One string, or a list with a string for each line: in that, the lines that stay keep their text."""
    before = "".join(source.of)
    after = edited_text(before, edits)
    if not before.endswith("\n"):
        after = after.removesuffix("\n")
    if isinstance(source.of, str):
        return _written(after, text)
    old = list(_elements(text, source.start))
    written = [text[line.start:line.end] for line in old]
    new: list[str] = []
    lines = after.splitlines(keepends=True)
    for kind, start, end, new_start, new_end in difflib.SequenceMatcher(None, source.of, lines, False).get_opcodes():
        new += written[start:end] if kind == "equal" else (_written(line, text) for line in lines[new_start:new_end])
    opening, closing = text[source.start:old[0].start], text[old[-1].end:source.end]
    between = text[old[0].end:old[1].start] if len(old) > 1 else f",{opening[1:]}"
    return opening + between.join(new) + closing if new else "[]"


def _written(line: str, text: str) -> str:
    """As the notebook's author program writes it: with escapes where it has no other characters than ASCII."""
    return json.dumps(line, ensure_ascii=text.isascii())


def _member(text: str, start: int, wanted: str) -> _Value:
    """Of the object that begins there; the last of that name, as `json` reads it."""
    return {key.of: value for key, value in _members(text, start)}[wanted]


def _members(text: str, start: int) -> Iterator[tuple[_Value, _Value]]:
    at = _after_space(text, start + 1)
    while text[at] != "}":
        key = _value(text, at)
        value = _value(text, _after_space(text, key.end) + 1)
        yield key, value
        at = _next(text, value)


def _elements(text: str, start: int) -> Iterator[_Value]:
    at = _after_space(text, start + 1)
    while text[at] != "]":
        value = _value(text, at)
        yield value
        at = _next(text, value)


def _value(text: str, at: int) -> _Value:
    start = _after_space(text, at)
    found, end = _decode(text, start)
    return _Value(found, start, end)


def _next(text: str, value: _Value) -> int:
    """Where the next member or element begins, or the bracket that ends them."""
    at = _after_space(text, value.end)
    return _after_space(text, at + 1) if text[at] == "," else at


def _after_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
