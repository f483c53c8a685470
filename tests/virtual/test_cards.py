"""The catalogue: names as people write them, and figures that fit together."""

from __future__ import annotations

import pytest

from memdoctor.foundation.errors import UnknownCard
from memdoctor.virtual.cards import CATALOGUE, Card, find_card


@pytest.mark.parametrize("name", ["rtx4090", "RTX 4090", "rtx-4090", "NVIDIA GeForce RTX 4090"])
def test_spelling_does_not_matter(name: str) -> None:
    assert find_card(name) is CATALOGUE["rtx4090"]


@pytest.mark.parametrize(("size", "total_bytes"), [("24GiB", 24 * 2**30), ("24G", 24 * 2**30), ("80 GB", 80 * 10**9)])
def test_a_size_is_an_ampere_card_without_a_context(size: str, total_bytes: int) -> None:
    card = find_card(size)
    assert (card.total_bytes, card.context_bytes, card.compute_capability, card.sm_count) == (
        total_bytes, 0, (8, 0), 108)


@pytest.mark.parametrize(("typed", "meant"), [("a100", "a100-40gb"), ("rtx409", "rtx4090"), ("h100", "h100-80gb")])
def test_an_unknown_name_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UnknownCard, match=rf"(?s){typed!r}.*{meant}.*memdoctor gpus --catalogue"):
        find_card(typed)


@pytest.mark.parametrize(("typed", "written"), [("2", "2GiB"), (" 1.5 ", "1.5GiB"), ("24000000000", "24000000000GiB")])
def test_a_size_needs_a_unit(typed: str, written: str) -> None:
    with pytest.raises(UnknownCard, match=f"(?s)has no unit.*write {written}"):
        find_card(typed)


@pytest.mark.parametrize("card", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_figures_fit_together(card: Card) -> None:
    assert card.source
    assert 0 < card.context_bytes < card.total_bytes / 10
    assert 7 * 2**30 < card.total_bytes < 192 * 2**30
    assert 20 <= card.sm_count <= 200
