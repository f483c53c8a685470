"""The line that puts something into a holder: the best of all that could, never a wrong one."""

from __future__ import annotations

import textwrap

import pytest

from memdoctor.analysis.put_line import put_line, starts_anew
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
        pytest.param("kept = M('m')\ndef f(x):\n  import kept as m\n  m.append(x)\n", 4, id="an import's other name"),
        pytest.param("kept = []\ndef log(sink, x):\n    sink.append(x)\nlog(kept, 1)\n", 3, id="an argument"),
        pytest.param("kept = []\ndef f(kept):\n    kept.append(1)\n", 1, id="not a parameter of the same name"),
        pytest.param("kept = Stack()\nfor x in y:\n    kept.callback(f, x)\n", 3, id="a method of any name"),
        pytest.param("kept = Net()\nkept.train()\nkept.load(x)\nkept = grow(kept)\n", 4, id="but not before a state"),
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


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        pytest.param('setattr(self, f"output_{self.calls}", x)', "output_*", id="a numbered attribute"),
        pytest.param('self.register_buffer("bank" + str(self.calls), x)', "bank*", id="a name that is computed"),
        pytest.param("return self._replace(outputs=(*self.outputs, x))", "outputs", id="a field of a named tuple"),
    ],
)
def test_attributes_that_no_assignment_names(statement: str, name: str) -> None:
    source = f"class Tracer:\n    def record(self, x):\n        {statement}\n"
    assert line_in(source, (HISTORY[0], Piece("attr", name, "Tracer", "train.py"))) == 3


def test_a_buffer_is_put_where_it_is_made_longer_rather_than_registered() -> None:
    init = "    def __init__(self):\n        self.register_buffer('bank', zeros(3))\n"
    source = f"class Net:\n{init}    def forward(self, x):\n        self.bank = torch.cat([self.bank, x])\n"
    assert line_in(source, (HISTORY[0], Piece("module", "bank", "Net", "train.py"))) == 5


def test_an_attribute_with_a_name_of_its_own_is_not_put_by_any_setattr() -> None:
    source = "class T:\n    def f(self, name, x):\n        setattr(self, name, x)\n        self.kept.append(x)\n"
    assert line_in(source, (HISTORY[0], Piece("attr", "kept", "T", "train.py"))) == 4


MEMORY = "class Net:\n    def forward(self, x):\n        {}\n        self.memory = both.detach()\n"


@pytest.mark.parametrize(
    ("statement", "anew"),
    [
        pytest.param("both = torch.cat([self.memory, x])", False, id="what is assigned comes from what was there"),
        pytest.param("both = torch.cat([self.other, x])", True, id="and here it does not"),
    ],
)
def test_whether_an_attribute_starts_anew(statement: str, anew: bool) -> None:
    pieces = (HISTORY[0], Piece("attr", "memory", "Net", "train.py"))
    assert starts_anew(pieces, (), lambda path: MEMORY.format(statement)) is anew


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
