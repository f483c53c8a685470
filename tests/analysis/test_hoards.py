"""Memory of the host that gathers in one place is told from buffers, lists that are emptied, and what is small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from memdoctor.analysis.growth import decide
from memdoctor.analysis.hoards import hoards
from memdoctor.analysis.put_line import no_source
from memdoctor.analysis.retention import findings
from memdoctor.foundation.looks import Look, OwnerPath, Piece
from memdoctor.foundation.readings import Timeline
from memdoctor.foundation.units import MIB
from tests.analysis.looks_by_hand import look

WRITER = Piece("global", "writer")
FRAMES = (WRITER, Piece("attr", "frames", "Writer", "train.py"))
MASKS = (WRITER, Piece("attr", "masks", "Writer", "train.py"))
TICKS = (4, 9, 19, 39)
STEADY = (20, 40, 80, 160)


def holding(tick: int, mib: Mapping[tuple[Piece, ...], int]) -> Look:
    paths = (OwnerPath(pieces, (), False, host_bytes=amount * MIB) for pieces, amount in mib.items())
    return replace(look(tick, {}), paths=tuple(paths), files=("train.py",))


def looks(amounts: Sequence[int], place: tuple[Piece, ...] = FRAMES) -> list[Look]:
    return [holding(tick, {place: amount}) for tick, amount in zip(TICKS, amounts)]


def test_a_list_of_arrays_is_named_with_its_line_and_the_host_s_bytes() -> None:
    source = {"train.py": "class Writer:\n    def write(self, x):\n        self.frames.append(x)\n"}.get
    seen = looks(STEADY)
    growth = decide(Timeline(), seen, source=source)
    assert growth.verdict == "host-leak"
    assert growth.explanation.startswith("Each optimizer step keeps 4.0 MiB more of the host's memory")
    (found,) = findings(seen, growth, source)
    assert (found.code, found.variable, found.location and found.location.line) == ("MD505", "Writer.frames", 3)
    assert found.retainer is not None
    assert (found.retainer.bytes_per_step, found.retainer.host_bytes_per_step) == (0, 4 * MIB)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(looks([20, 40, 80, 100]), id="little"),
        pytest.param(looks(STEADY)[1:], id="too few looks"),
        pytest.param(looks([100, 200, 200, 200]), id="a cache that is full"),
        pytest.param(looks([100, 200, 50, 300]), id="a list that is emptied each epoch"),
        pytest.param(looks([20, 60, 300, 310]), id="slower and slower"),
        pytest.param(looks([200, 200, 200, 200]), id="a data set"),
        pytest.param(looks(STEADY, (WRITER, replace(FRAMES[1], capacity=50))), id="a deque with maxlen"),
        pytest.param([replace(each, evaluates=True) for each in looks(STEADY)], id="outputs of an evaluation"),
    ],
)
def test_it_is_left_alone(seen: Sequence[Look]) -> None:
    assert hoards(seen, no_source) == ()


def test_a_list_that_a_statement_keeps_short_has_a_limit() -> None:
    body = "        if len(self.frames) > 500:\n            self.frames.pop(0)\n"
    source = f"class Writer:\n    def write(self, x):\n{body}"
    assert hoards(looks(STEADY), {"train.py": source}.get) == ()


def test_elements_that_are_told_apart_at_first_are_of_one_container() -> None:
    """Dictionaries with an array each: eight or more of them share one path."""
    early = holding(4, {(*FRAMES, Piece("index", str(each))): 5 for each in range(4)})
    later = [holding(tick, {(*FRAMES, Piece("index", "*")): 5 * tick}) for tick in TICKS[1:]]
    (found,) = hoards([early, *later], no_source)
    assert found.pieces == FRAMES


def test_of_two_places_each_is_named_and_not_what_holds_both() -> None:
    seen = [holding(tick, {FRAMES: 4 * tick, MASKS: 8 * tick}) for tick in TICKS]
    assert [each.pieces for each in hoards(seen, no_source)] == [MASKS, FRAMES]


@pytest.mark.parametrize("statement", [
    "def on_epoch(self):\n        self.frames = []",
    "def flush(self):\n        if self.count > 90:\n            self.frames.clear()",
    "def flush(self):\n        del self.frames[:]",
])
def test_what_a_statement_empties_is_left_alone_before_it_has_run(statement: str) -> None:
    """A run may end before its first epoch does."""
    text = f"class Writer:\n    def write(self, x):\n        self.frames.append(x)\n    {statement}\n"
    assert not hoards(looks(STEADY), {"train.py": text}.get)


@pytest.mark.parametrize("statement", [
    "def __init__(self):\n        self.frames = []", "def flush(self):\n        self.masks.clear()",
])
def test_how_it_begins_and_what_empties_another_do_not_excuse_it(statement: str) -> None:
    text = f"class Writer:\n    def write(self, x):\n        self.frames.append(x)\n    {statement}\n"
    assert len(hoards(looks(STEADY), {"train.py": text}.get)) == 1
