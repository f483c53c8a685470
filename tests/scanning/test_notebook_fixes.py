"""A fix of a notebook changes lines of a cell, and no other byte of the file."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdoctor.foundation.findings import Applicability, Confidence
from memdoctor.rules import ALL_RULES
from memdoctor.scanning.fixes import diff_of, fix_of
from memdoctor.scanning.one_file import scan_bytes

EVERY = frozenset(Applicability)
LOOP = "for x, y in loader:\n    loss = criterion(model(x), y)\n    loss.backward()\n"
LEAK = f"{LOOP}    total += loss"
FIXED = f"{LOOP}    total += loss.detach()"
EVALUATION = "def validate(model, x):\n    model.eval()\n    show(model(x))"


def _fixed(data: bytes) -> bytes:
    fix = fix_of("a.ipynb", data, ALL_RULES, Confidence.LOW, EVERY)
    return data if fix is None else fix.after


def _notebook(*cells: str, as_lines: bool = True) -> dict[str, Any]:
    """With what a notebook has beside its code: an order of keys, numbers, text of other languages, output."""
    listed: list[dict[str, Any]] = [{"source": "# torch \u6f22 \u2028", "cell_type": "markdown", "metadata": {}}]
    for cell in ("import torch", *cells):
        source = cell.splitlines(keepends=True) if as_lines else cell
        listed.append({"outputs": [{"text": "\x1b[0m"}], "source": source, "cell_type": "code", "execution_count": 1e3})
    return {"nbformat_minor": 5, "nbformat": 4, "cells": listed, "metadata": {"n": 1.50, "sep": "/"}}


@pytest.mark.parametrize("as_lines", [True, False])
@given(
    indent=st.sampled_from([None, 0, 1, 4, "\t"]),
    separators=st.sampled_from([None, (",", ":"), (" , ", " :  ")]),
    ascii_only=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
@settings(max_examples=25, deadline=None)
def test_only_the_line_that_changes_is_written_anew(
    as_lines: bool, indent: int | str | None, separators: tuple[str, str] | None, ascii_only: bool, line_end: str,
    mark: bytes,
) -> None:
    text = json.dumps(
        _notebook("y = 1", LEAK, as_lines=as_lines), indent=indent, separators=separators, ensure_ascii=ascii_only,
    ).replace("\n", line_end)
    data = mark + f"{text}{line_end}".encode()
    after = _fixed(data)
    assert after == data.replace(b"total += loss", b"total += loss.detach()")
    assert _fixed(after) == after
    assert scan_bytes("a.ipynb", after, ALL_RULES).findings == ()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        pytest.param(EVALUATION, f"@torch.no_grad()\n{EVALUATION}", id="a line more"),
        pytest.param(f"{LOOP}    torch.cuda.empty_cache()", LOOP.rstrip("\n"), id="a line less, the last"),
        pytest.param(f"{LOOP}    torch.cuda.empty_cache()\n    x = 1", f"{LOOP}    x = 1", id="a line less"),
        pytest.param(f"%matplotlib inline\n!ls\n{LEAK}", f"%matplotlib inline\n!ls\n{FIXED}", id="behind magic"),
        pytest.param(f"%%time\n{LEAK}", f"%%time\n{FIXED}", id="a timed cell"),
        pytest.param(f"x = await f()\n{LEAK}", f"x = await f()\n{FIXED}", id="behind await"),
        pytest.param(LEAK.replace("\n", "\r\n"), FIXED.replace("\n", "\r\n"), id="line ends of the cell"),
        pytest.param(f"print 'x'\n{LEAK}", f"print 'x'\n{LEAK}", id="a cell that is not Python 3"),
    ],
)
def test_the_cell_is_edited_and_the_others_are_not(cell: str, expected: str) -> None:
    before = _notebook("x = 1", cell, "print 'not Python 3'")
    wanted = copy.deepcopy(before)
    wanted["cells"][3]["source"] = expected.splitlines(keepends=True)
    assert json.loads(_fixed(json.dumps(before, indent=1).encode())) == wanted


def test_two_cells_are_fixed_at_once() -> None:
    after = json.loads(_fixed(json.dumps(_notebook(LEAK, "x = 1", LEAK)).encode()))
    assert ["".join(cell["source"]) for cell in after["cells"][2:]] == [FIXED, "x = 1", FIXED]


def test_a_diff_shows_the_line_of_the_file() -> None:
    data = json.dumps(_notebook(LEAK), indent=1, ensure_ascii=False).encode()
    fix = fix_of("a.ipynb", data, ALL_RULES, Confidence.LOW, EVERY)
    assert fix is not None
    changed = [line for line in diff_of(fix).splitlines() if line.startswith(("-  ", "+  "))]
    assert changed == ['-    "    total += loss"', '+    "    total += loss.detach()"']


def test_a_finding_in_a_line_that_only_ipython_understands_has_no_fix() -> None:
    data = json.dumps(_notebook(f"{LOOP}    total += loss; torch.cuda.empty_cache(); y = %time f()")).encode()
    assert _fixed(data) == data
