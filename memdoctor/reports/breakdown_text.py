"""Where the bytes are, as tables for a person; each row with its share of all that was allocated."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from memdoctor.foundation.breakdown import Breakdown, ModuleBytes, TensorBytes
from memdoctor.foundation.units import format_bytes

_ROWS = 8
_FEW = 3
_LEAST_SHARE = 0.01
"""Smaller rows are left out, except among the categories, which sum to the whole."""
_NUMBER = re.compile(r"\.\d+(?=\.|$)")


def tables(breakdown: Breakdown, when: str = "") -> Iterator[str]:
    """By category, module, line and tensor; the categories sum to the figure in the head, which says `when`."""
    whole_bytes = breakdown.allocated_bytes
    yield f"Where the {format_bytes(whole_bytes)} are{when}:"
    yield from _rows(list(breakdown.category_bytes.items()), whole_bytes)
    least_bytes = _LEAST_SHARE * whole_bytes
    modules, lines = _module_rows(breakdown), _line_rows(breakdown)
    tensors = [row for row in breakdown.tensors if row.nbytes * row.count >= least_bytes]
    if modules:
        yield "By module, with what is inside:"
        yield from _rows(modules, whole_bytes)
    if lines:
        yield "By line that allocated it:"
        yield from _rows(lines, whole_bytes)
    if tensors:
        yield "Largest tensors:"
        yield from (f"  {_tensor(row)}" for row in tensors[:_ROWS])


def _module_rows(breakdown: Breakdown) -> list[tuple[str, int]]:
    """Parents before children; the alike layers of a stack are one row, and what is in no module has one too."""
    alike: dict[tuple[str, int, int], list[ModuleBytes]] = defaultdict(list)
    for row in breakdown.modules:
        if row.total_bytes >= _LEAST_SHARE * breakdown.allocated_bytes:
            alike[_NUMBER.sub(".*", row.path), row.total_bytes, row.own_bytes].append(row)
    rows = [_modules(group) for group in alike.values()]
    outside_bytes = breakdown.allocated_bytes - sum(row.total_bytes for row in breakdown.modules if "." not in row.path)
    return _with_rest(rows, "outside of modules", outside_bytes, breakdown)


def _modules(alike: list[ModuleBytes]) -> tuple[str, int]:
    first = alike[0]
    own = f", {format_bytes(first.own_bytes)} its own" if 0 < first.own_bytes < first.total_bytes else ""
    if len(alike) == 1:
        return first.path + own, first.total_bytes
    each = f" ({len(alike)} x {format_bytes(first.total_bytes)}{own})"
    return _NUMBER.sub(".*", first.path) + each, first.total_bytes * len(alike)


def _line_rows(breakdown: Breakdown) -> list[tuple[str, int]]:
    rows = [(str(row.location), row.nbytes) for row in breakdown.lines]
    large = [row for row in rows if row[1] >= _LEAST_SHARE * breakdown.allocated_bytes][:_ROWS]
    rest_bytes = breakdown.allocated_bytes - sum(nbytes for _, nbytes in large)
    return _with_rest(large, "other lines, and no line of yours", rest_bytes, breakdown)


def _with_rest(
    rows: list[tuple[str, int]], rest: str, rest_bytes: int, breakdown: Breakdown
) -> list[tuple[str, int]]:
    """What the rows leave out is named, unless it is small or everything."""
    is_worthy = rows and rest_bytes >= _LEAST_SHARE * breakdown.allocated_bytes
    return rows[:_ROWS] + ([(rest, rest_bytes)] if is_worthy else [])


def summary(breakdown: Breakdown) -> Iterator[str]:
    """The same in a few lines: what, where, and the largest tensor."""
    whole_bytes = breakdown.allocated_bytes
    sizes = breakdown.category_bytes.items()
    large = [f"{name} {_share(nbytes, whole_bytes)}" for name, nbytes in sizes if nbytes >= _LEAST_SHARE * whole_bytes]
    yield ", ".join(large)
    lines = [f"{row.location} {_share(row.nbytes, whole_bytes)}" for row in breakdown.lines[:_FEW]]
    if lines:
        yield f"allocated at {', '.join(lines)}"
    if breakdown.tensors:
        yield f"largest: {_tensor(breakdown.tensors[0])}"


def _rows(rows: list[tuple[str, int]], whole_bytes: int) -> Iterator[str]:
    for name, nbytes in rows:
        yield f"  {format_bytes(nbytes):>10}  {_share(nbytes, whole_bytes):>6}  {name}"


def _share(nbytes: int, whole_bytes: int) -> str:
    percent = 100 * nbytes / max(whole_bytes, 1)
    return f"{percent:.0f} %" if percent >= 1 or not nbytes else "< 1 %"


def _tensor(row: TensorBytes) -> str:
    count = f"{row.count} x " if row.count > 1 else ""
    kind = f"{row.dtype} {list(row.shape)}" if row.dtype else "storage"
    parts = [f"{count}{format_bytes(row.nbytes)} {kind}", row.category, row.module, str(row.location or "")]
    return ", ".join(part for part in parts if part)
