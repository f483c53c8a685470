"""Statements that keep a container short are found in the source; those that only look at its length are not."""

from __future__ import annotations

import ast

import pytest

from memdoctor.analysis.limits import limits
from memdoctor.analysis.puts import read_source
from memdoctor.analysis.put_line import limit_of
from memdoctor.foundation.looks import Piece

SETS = [
    pytest.param("if len(x) > 100: x.pop(0)", 100, id="pop beyond a number"),
    pytest.param("while len(x) > 100: del x[0]", 100, id="del in a loop"),
    pytest.param("if 100 < len(x): x = x[1:]", 100, id="the number first"),
    pytest.param("if len(x) >= 100 and full: x.clear()", 100, id="emptied when full"),
    pytest.param("if len(x) == 100: x = []", 100, id="begun anew"),
    pytest.param("if len(x) < 100: x.append(y)", 100, id="an append that is guarded"),
    pytest.param("x = x[-100:]", 100, id="a slice of the last ones"),
    pytest.param("del x[:-100]", 100, id="all but the last ones deleted"),
    pytest.param("if len(x) > limit: x.popleft()", 0, id="a limit in a variable"),
]
SETS_NONE = [
    pytest.param("if len(x) < 100: y.append(z)", id="too few to begin, and another list grows"),
    pytest.param("if len(x) > 100: print(len(x))", id="only looked at"),
    pytest.param("if len(x) % 100 == 0: x.pop()", id="every hundredth time"),
    pytest.param("while len(x) > 0: x.pop()", id="a queue that is emptied"),
    pytest.param("x = x[:100]", id="the first ones, which hold as much as ever"),
    pytest.param("if len(x) > 100: y.pop()", id="another container"),
]


@pytest.mark.parametrize(("source", "elements"), SETS)
def test_a_statement_that_sets_a_limit(source: str, elements: int) -> None:
    (limit,) = read_source("train.py", source).limits
    assert (limit.target, limit.elements) == ((("name", "x"),), elements)


@pytest.mark.parametrize("source", SETS_NONE)
def test_a_statement_that_sets_none(source: str) -> None:
    (statement,) = ast.parse(source).body
    (scope,) = read_source("train.py", source).scopes
    assert list(limits(statement, scope)) == []


def test_a_limit_is_found_under_the_holders_own_name() -> None:
    source = "def train():\n    kept = []\n    other = []\n    if len(other) > 9: other.pop()\n"
    kept, other = (Piece("local", name, "train", "train.py", 1) for name in ("kept", "other"))
    found = limit_of([other], ["train.py"], lambda path: source)
    assert found is not None and found.elements == 9
    assert limit_of([kept], ["train.py"], lambda path: source) is None
