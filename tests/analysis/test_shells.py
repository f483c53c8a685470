"""Graphs that get longer, under the name of what holds them."""

from __future__ import annotations

from collections.abc import Sequence

from memdoctor.analysis.shells import shells
from memdoctor.foundation.looks import Look, OwnerPath, Piece
from tests.analysis.looks_by_hand import look

CALLBACK = (
    Piece("global", "trainer"), Piece("attr", "callbacks", "Trainer", "train.py"), Piece("index", "1"),
    Piece("attr", "records", "History", "train.py"),
)


def shell_look(tick: int, elements: Sequence[str]) -> Look:
    """Records with one node each, as a search brings them back: many are one path."""
    nodes = tick // len(elements)
    paths = (
        OwnerPath((*CALLBACK, Piece("index", each)), (), False, graph_nodes=nodes, oldest_node=1) for each in elements
    )
    return Look(tick, tick, "optimizer step", (), (), tuple(paths), (), 0, 0)


def test_a_list_in_one_of_two_callbacks_is_named_and_not_the_list_of_callbacks() -> None:
    (found,) = shells([shell_look(4, ["0", "1", "2", "3"]), shell_look(9, ["*"]), shell_look(19, ["*"])])
    assert found.path.pieces == (*CALLBACK, Piece("index", "*"))
    assert found.nodes_per_tick == 1


def test_nothing_grows_where_nothing_is_held() -> None:
    assert shells([look(4, {}), look(9, {}), look(19, {})]) == ()
