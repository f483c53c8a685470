"""The catalogue: names as people write them, and figures that fit together."""

from __future__ import annotations

import pytest

from memdoctor.foundation.errors import UnknownCard
from memdoctor.foundation.units import MIB
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


MESSAGES = [
    ("t4", 4.11, 3.72, 264.21, "Zheng-Chong/CatVTON#133"),
    ("t4", 14.53, 13.86, 558.41, "facebookresearch/tribev2#28"),
    ("rtx3080", 9.43, 9.04, 142.12, "bcmi/libcom#54"),
    ("rtx4090", 23.60, 22.90, 194.87, "pytorch/pytorch#16417"),
    ("rtx4090", 22.69, 21.72, 520.54, "pinokiofactory/flux-webui#11"),
    ("rtx4090", 14.56, 13.86, 213.20, "3DTopia/Phidias-Diffusion#8"),
    ("rtx5090", 31.34, 30.74, 19.41, "Wan-Video/Wan2.1#465"),
    ("l40s", 11.13, 10.25, 394.50, "QwenLM/Qwen3-VL#2097"),
    ("a100-40gb", 14.25, 12.87, 912.01, "TianheWu/CoSeR#10"),
    ("b200", 168.34, 167.64, 4.62, "stas00/ml-engineering, debug/pytorch.md"),
]
"""Card; GiB in use by the process and allocated by PyTorch, MiB reserved but unallocated; who printed it."""


@pytest.mark.parametrize(("name", "used_gib", "allocated_gib", "cached_mib", "printed_by"), MESSAGES)
def test_the_context_is_what_real_processes_have_beside_their_tensors(
    name: str, used_gib: float, allocated_gib: float, cached_mib: float, printed_by: str
) -> None:
    measured_mib = 1024 * (used_gib - allocated_gib) - cached_mib
    rounding_mib = 2 * 0.005 * 1024
    off_mib = abs(CATALOGUE[name].context_bytes / MIB - measured_mib)
    assert off_mib <= 0.15 * measured_mib + rounding_mib, printed_by
