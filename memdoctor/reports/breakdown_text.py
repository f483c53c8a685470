"""Where the bytes are, as tables for a person; each row with its share of all that was allocated."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.breakdown import Breakdown, TensorBytes
from memdoctor.foundation.units import format_bytes

_ROWS = 8
_FEW = 3
_LEAST_SHARE = 0.01
"""Smaller rows are left out, except among the categories, which sum to the whole."""


def tables(breakdown: Breakdown) -> Iterator[str]:
    """By category, module, line and tensor; the categories sum to the figure in the head."""
    whole_bytes = breakdown.allocated_bytes
    yield f"Where the {format_bytes(whole_bytes)} are:"
    yield from _rows(list(breakdown.category_bytes.items()), whole_bytes)
    least_bytes = _LEAST_SHARE * whole_bytes
    modules = [(row.path, row.total_bytes) for row in breakdown.modules if row.total_bytes >= least_bytes]
    lines = [(str(row.location), row.nbytes) for row in breakdown.lines if row.nbytes >= least_bytes]
    tensors = [row for row in breakdown.tensors if row.nbytes * row.count >= least_bytes]
    if modules:
        yield "By module, with what is inside:"
        yield from _rows(modules[:_ROWS], whole_bytes)
    if lines:
        yield "By line that allocated it:"
        yield from _rows(lines[:_ROWS], whole_bytes)
    if tensors:
        yield "Largest tensors:"
        yield from (f"  {_tensor(row)}" for row in tensors[:_ROWS])


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
