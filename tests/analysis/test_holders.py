"""Where a path is cut: the last part that does not change from one survivor to the next."""

from __future__ import annotations

from memdoctor.analysis.holders import holders
from memdoctor.foundation.looks import Piece
from tests.analysis.looks_by_hand import LIST, element, look

TRAINER = (Piece("global", "trainer"), Piece("attr", "callbacks", "Trainer", "train.py"))


def test_elements_that_come_one_by_one_are_a_container() -> None:
    (holder,) = holders(look(9, {element(LIST, index): (index + 2,) for index in range(5)}))
    assert (holder.pieces, holder.is_container) == (LIST, True)


def test_a_fixed_list_of_meters_is_not_cut() -> None:
    found = holders(look(9, {element(TRAINER, index): range(2, 8) for index in range(3)}))
    assert [holder.pieces for holder in found] == [element(TRAINER, index) for index in range(3)]


def test_a_list_for_each_epoch_is_one_container() -> None:
    (holder,) = holders(look(14, {element(LIST, epoch): range(2 + 4 * epoch, 6 + 4 * epoch) for epoch in range(3)}))
    assert holder.pieces == LIST


def test_a_linked_list_belongs_to_the_variable_that_has_its_head() -> None:
    link, value = Piece("attr", "next", "Node", "train.py"), Piece("attr", "value", "Node", "train.py")
    (holder,) = holders(look(20, {(*LIST, *[link] * depth, value): (18 - depth,) for depth in range(12)}))
    assert (holder.pieces, len(holder.births)) == (LIST, 12)


def test_children_of_modules_may_share_a_name() -> None:
    path = (Piece("global", "net"), *[Piece("module", "block")] * 5, Piece("attr", "maps", "Block", "net.py"))
    (holder,) = holders(look(9, {path: range(2, 8)}))
    assert holder.pieces == path


def test_keys_that_are_no_strings_are_one_container() -> None:
    (holder,) = holders(look(9, {(*LIST, Piece("key", "*")): range(2, 8)}))
    assert (holder.pieces, holder.is_container) == (LIST, True)


def test_attributes_that_differ_in_a_number_are_one_container() -> None:
    numbered = [(TRAINER[0], Piece("attr", f"output_{index}", "Tracer", "train.py")) for index in range(5)]
    seen = look(9, {path: (index + 2,) for index, path in enumerate(numbered)})
    (holder,) = holders(seen)
    assert (holder.pieces[-1].text, holder.is_container) == ("output_*", True)
    assert len(holder.held_at(seen)) == 5


def test_numbered_layers_that_each_keep_more_are_not_cut() -> None:
    layers = [(TRAINER[0], Piece("attr", f"layer{number}", "Net", "net.py"), TRAINER[1]) for number in (1, 2, 3)]
    assert len(list(holders(look(9, {path: range(2, 8) for path in layers})))) == 3


def test_gradients_of_numbered_layers_are_no_elements() -> None:
    """Layers that are unfrozen one by one, whose gradients are set to zero and stay."""
    rest = (Piece("module", "weight"), Piece("grad", "grad"))
    layers = {(TRAINER[0], Piece("module", str(number)), *rest): (2 + 3 * number,) for number in range(7)}
    assert not any(holder.is_container for holder in holders(look(30, layers)))
