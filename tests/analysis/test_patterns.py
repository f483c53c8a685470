"""The advice fits what is kept: a sum, a tuple, a tensor that backward has already freed of its graph."""

from __future__ import annotations

import pytest

from memdoctor.analysis.patterns import Kept, Pattern, pattern_of
from memdoctor.analysis.retention import findings
from memdoctor.foundation.findings import Confidence
from memdoctor.foundation.looks import Growth, Look, OwnerPath, Piece

ROOT = Piece("local", "kept", "train", "train.py", 1)


def advice(*, name: str = "kept", saves: bool = True, is_container: bool = True, is_scalar: bool = False) -> Pattern:
    path = OwnerPath((ROOT,), (1,), through_graph=saves, has_grad_fn=True, is_scalar=is_scalar)
    return pattern_of(Kept(name, (ROOT,), (path,), is_container))


def test_an_output_whose_graph_backward_has_freed_needs_more_than_detach() -> None:
    pattern = advice(saves=False)
    assert pattern.code == "MD102"
    assert "`.detach()` alone frees nothing of the card" in pattern.fix


def test_an_output_whose_graph_has_saved_activations_needs_detach() -> None:
    pattern = advice(saves=True)
    assert pattern.code == "MD102"
    assert pattern.fix.startswith("Add `.detach()`")


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        pytest.param("hidden", "`hidden = hidden.detach()`", id="a tensor"),
        pytest.param("self.state[0]", "`self.state = tuple(each.detach() for each in self.state)`", id="a tuple"),
        pytest.param("cache['h']", "`cache['h'] = cache['h'].detach()`", id="a dictionary"),
    ],
)
def test_a_state_is_cut_by_a_statement_that_can_run(name: str, statement: str) -> None:
    pattern = advice(name=name, is_container=False)
    assert pattern.code == "MD104"
    assert statement in pattern.fix


@pytest.mark.parametrize(
    ("is_container", "says"), [pytest.param(True, True, id="a list"), pytest.param(False, False, id="a sum")]
)
def test_only_a_list_of_values_has_a_block_for_each(is_container: bool, says: bool) -> None:
    pattern = advice(is_container=is_container, is_scalar=True)
    assert pattern.code == "MD101"
    assert ("a block of the card for each value" in pattern.fix) is says


def test_graphs_that_one_statement_makes_longer_are_one_finding() -> None:
    """Averages of two parameters, three nodes each a step; the host's growth is that of the process, 1,000 a step."""
    source = "def train():\n    for key in kept:\n        kept[key] = kept[key] * 0.9 + new[key]\n"
    found = findings(
        [averages(tick) for tick in (10, 20, 30)], Growth("host-leak", "", Confidence.HIGH), {"train.py": source}.get
    )
    assert [(each.variable, each.location and each.location.line) for each in found] == [("kept", 3)]
    assert found[0].retainer is not None
    assert (found[0].retainer.graph_nodes_per_step, found[0].retainer.host_bytes_per_step) == (6, 1000)


def averages(tick: int) -> Look:
    paths = tuple(
        OwnerPath(
            (ROOT, Piece("key", repr(key))), (), False, has_grad_fn=True, graph_nodes=3 * tick, oldest_node=1,
            carried=True,
        )
        for key in ("weight", "bias")
    )
    return Look(tick, tick, "optimizer step", (), (), paths, (), live_bytes=0, host_bytes=1000 * tick)


def test_a_number_is_no_advice_where_states_are_kept_beside_the_losses() -> None:
    loss, state = (OwnerPath((ROOT,), (birth,), False, has_grad_fn=True, is_scalar=birth < 3) for birth in (1, 3))
    pattern = pattern_of(Kept("kept", (ROOT,), (loss, loss, state), is_container=True))
    assert ".item()" not in pattern.fix


def test_what_is_emptied_too_slowly_needs_no_loop_without_end() -> None:
    path = OwnerPath((ROOT,), (1,), False)
    pattern = pattern_of(Kept("pending", (ROOT,), (path,), is_container=True, is_backlog=True))
    assert "maxsize" in pattern.fix
