"""Live storages to tables: what a storage counts as, and that nothing is lost."""

from __future__ import annotations

import pytest

from memdoctor.analysis.breakdown import break_down, category, known_roles
from memdoctor.foundation.breakdown import Birthmark, Holding, LineBytes, ModuleBytes
from memdoctor.foundation.locations import Location

LINE, OTHER_LINE = Location("model.py", 5), Location("train.py", 9)


def held(nbytes: int, module: str = "", *, line: Location | None = LINE, role: str = "", **mark: object) -> Holding:
    """A storage in a block of whole 512 bytes."""
    made = Birthmark(module=module, location=line, **mark)  # type: ignore[arg-type]  # the fields of a Birthmark
    return Holding(nbytes, -(-nbytes // 512) * 512, made, role)


@pytest.mark.parametrize(
    ("holding", "expected"),
    [
        pytest.param(held(1, phase="forward"), "activations", id="made in a module's forward"),
        pytest.param(held(1, followed=True), "activations", id="made by an operator that autograd follows"),
        pytest.param(held(1), "inputs and data", id="made or moved by the program itself"),
        pytest.param(held(1, loaded=True), "read from files", id="read from a file"),
        pytest.param(held(1, loaded=True, role="optimizer state"), "optimizer state", id="read, and a state now"),
        pytest.param(held(1, computed=True), "other tensors", id="computed by the program itself, without autograd"),
        pytest.param(held(1, phase="backward"), "temporaries", id="made in backward, and nobody's gradient"),
        pytest.param(held(1, phase="optimizer step"), "temporaries", id="made in a step, and no state"),
        pytest.param(held(1, phase="a module's construction or move"), "parameters", id="a model that never ran"),
        pytest.param(held(1, phase="backward", role="gradients"), "gradients", id="a parameter's own gradient"),
        pytest.param(held(1, phase="forward", role="parameters"), "parameters", id="what names it now comes first"),
    ],
)
def test_a_storage_counts_as(holding: Holding, expected: str) -> None:
    assert category(holding) == expected


def test_categories_sum_to_the_allocators_figure_with_its_own_part_named() -> None:
    """Blocks of 512 and 1024 bytes, and 2048 bytes that no storage owns."""
    breakdown = break_down([held(500, phase="forward"), held(1000, role="parameters")], 512 + 1024 + 2048)
    assert breakdown.category_bytes == {
        "workspaces": 2048, "parameters": 1000, "activations": 500, "rounding of blocks": 36,
    }
    assert list(breakdown.category_bytes) == ["workspaces", "parameters", "activations", "rounding of blocks"]


def test_a_module_has_its_own_bytes_and_those_of_all_inside_it() -> None:
    holdings = [
        held(1, "Net"), held(10, "Net.layers.0", phase="forward"), held(100, "Net.layers.1.mlp", role="parameters"),
    ]
    assert break_down(holdings, 2048).modules == (
        ModuleBytes("Net", 1, 111, 10),
        ModuleBytes("Net.layers", 0, 110, 10),
        ModuleBytes("Net.layers.1", 0, 100, 0),
        ModuleBytes("Net.layers.1.mlp", 100, 100, 0),
        ModuleBytes("Net.layers.0", 10, 10, 10),
    )


def test_recomputing_children_saves_all_but_their_inputs_and_one_segment() -> None:
    """Three segments of 100: two keep an input of 40, and one is alive, so that 300 - 2 x 40 - 100 are gone."""
    layers = [held(n, f"Net.layers.{k}.fc", phase="forward") for k in range(3) for n in (40, 30, 30)]
    modules = break_down([*layers, held(500, "Net.head", phase="forward")], 4096).modules
    saved = {row.path: row.recomputed_bytes for row in modules}
    assert saved["Net.layers"] == 120
    assert saved["Net.layers.0"] == saved["Net.head"] == 0
    assert saved["Net"] == 0  # the head is one tensor, and the layers cannot be gone while they are recomputed


def test_layers_that_keep_one_tensor_each_are_recomputed_in_segments() -> None:
    """Eight alone would all be inputs; three segments keep two of them, and a third of all while it is computed."""
    modules = break_down([held(300, f"Net.layers.{k}", phase="forward") for k in range(8)], 4096).modules
    assert {row.path: row.recomputed_bytes for row in modules}["Net.layers"] == 2400 - 2 * 300 - 800


def test_lines_are_summed_and_unknown_ones_left_out() -> None:
    lines = break_down([held(1), held(10, line=OTHER_LINE), held(2), held(99, line=None)], 2048).lines
    assert lines == (LineBytes(OTHER_LINE, 10), LineBytes(LINE, 3))


def test_the_layers_of_a_stack_are_one_row_and_others_are_not() -> None:
    same = {"phase": "forward", "shape": (4, 8), "dtype": "float32"}
    rows = break_down([held(128, f"Net.layers.{n}.fc", **same) for n in range(3)] + [held(128, "Net.out", **same)], 0)
    assert [(row.count, row.module, row.nbytes) for row in rows.tensors] == [
        (3, "Net.layers.*.fc", 128), (1, "Net.out", 128),
    ]


def test_tables_are_bounded() -> None:
    breakdown = break_down([held(n + 1, f"Net.m{n}", line=Location("a.py", n), shape=(n,)) for n in range(100)], 0)
    assert [len(table) for table in (breakdown.modules, breakdown.lines, breakdown.tensors)] == [20, 20, 20]
    assert breakdown.tensors[0].nbytes == 100


def test_a_card_without_a_ledger_shows_what_its_models_own_and_the_rest() -> None:
    breakdown = known_roles({"parameters": 300, "gradients": 200}, 1000)
    assert breakdown.category_bytes == {"activations and other": 500, "parameters": 300, "gradients": 200}
