"""The card is whatever `torch.cuda` says it is."""

from __future__ import annotations

import pytest
import torch

from memdoctor.sensing.current_card import current_card
from memdoctor.virtual.gpu import virtual_gpu


def test_without_a_card_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert current_card() is None


def test_a_virtual_card_is_read_like_a_real_one() -> None:
    """3 MiB are allocated and freed: the peak stays, and what could be used at the start is not corrected by it."""
    with virtual_gpu("64MiB"):
        card = current_card()
        assert card is not None
        torch.empty(3 * 2**20, dtype=torch.uint8, device="cuda")
        card.wait()
        assert (card.room_bytes, card.peak_bytes()) == (64 * 2**20, 3 * 2**20)
