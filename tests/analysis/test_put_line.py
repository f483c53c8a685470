"""The line that puts something into a holder: the best of all that could, never a wrong one."""

from __future__ import annotations

import textwrap

import pytest

from memdoctor.analysis.put_line import put_line
from memdoctor.foundation.looks import Piece

GLOBAL = (Piece("global", "kept", "__main__", "train.py", 0),)
HISTORY = (Piece("global", "trainer"), Piece("attr", "history", "Trainer", "train.py"))


def line_in(source: str, pieces: tuple[Piece, ...], *keys: str) -> int | None:
    text = textwrap.dedent(source)
    location = put_line(pieces, frozenset(map(repr, keys)), (), lambda path: text if path == "train.py" else None)
    return location.line if location is not None else None


@pytest.mark.parametrize(
    ("source", "line"),
    [
        pytest.param("kept = []\nfor x in y:\n    kept.append(x)\n", 3, id="append rather than the empty list"),
        pytest.param("kept = 0\nfor x in y:\n    kept += x\n", 3, id="augmented assignment"),
        pytest.param("kept = {}\nfor x in y:\n    kept[x] = f(x)\n", 3, id="item"),
        pytest.param("for e in z:\n  kept = start()\n  for x in y:\n    out, kept = f(x, kept)\n", 4, id="a state"),
        pytest.param("kept = None\ndef f():\n  global kept\n  kept = g()\n", 4, id="a global that a function assigns"),
        pytest.param("kept = {}\nfor x in y:\n    kept.setdefault(x, []).append(x)\n", 3, id="setdefault and append"),
        pytest.param("kept = []\nalias = kept\nfor x in y:\n    alias.append(x)\n", 4, id="another name"),
        pytest.param("kept = []\ndef log(sink, x):\n    sink.append(x)\nlog(kept, 1)\n", 3, id="an argument"),
        pytest.param("kept = []\ndef f(kept):\n    kept.append(1)\n", 1, id="not a parameter of the same name"),
        pytest.param("import heapq\nkept = []\nheapq.heappush(kept, 1)\n", 3, id="heappush"),
    ],
)
def test_globals(source: str, line: int) -> None:
    assert line_in(source, GLOBAL) == line


TRAINER = """
    class Trainer:
        def __init__(self):
            self.history = {"loss": [], "val_loss": []}
        def step(self):
            self.history["loss"].append(1)
            self.history["val_loss"].append(2)
    class Other:
        def step(self):
            self.history.append(3)
"""


@pytest.mark.parametrize(("key", "line"), [("loss", 6), ("val_loss", 7)])
def test_the_constant_key_tells_two_lines_apart(key: str, line: int) -> None:
    assert line_in(TRAINER, (*HISTORY, Piece("key", repr(key))), key) == line


def test_without_source_there_is_no_line() -> None:
    assert put_line(GLOBAL, frozenset(), (), lambda path: None) is None


def test_a_closure_is_filled_where_the_inner_function_says() -> None:
    source = "def make():\n    seen = []\n    def track(v):\n        seen.append(v)\n    return track\n"
    cell = Piece("cell", "seen", "make.<locals>.track", "train.py", 3)
    assert line_in(source, (Piece("local", "track", "main", "train.py", 9), cell)) == 4


def test_a_cached_function_is_put_at_its_def() -> None:
    source = "import functools\n@functools.lru_cache\ndef table(n):\n    return n\n"
    assert line_in(source, (Piece("global", "table"), Piece("cached", "table", "table", "train.py", 2))) == 3


def test_gradients_with_a_graph_are_put_where_backward_is_told_to() -> None:
    """`autograd.grad` returns its gradients instead."""
    source = "slope = grad(f(x), x, create_graph=True)\nslope.sum().backward(create_graph=True)\n"
    pieces = (Piece("global", "model", "__main__", "train.py", 0), Piece("module", "weight"), Piece("grad", "grad"))
    assert line_in(source, pieces) == 2
