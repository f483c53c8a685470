"""The card in one sentence: its figures sum to the card."""

from __future__ import annotations

import pytest

from memdoctor.foundation.breakdown import CardLedger, Crash
from memdoctor.foundation.units import GIB
from memdoctor.reports.ledger_text import ledger_line

FULL = Crash(
    request_bytes=GIB, allocated_bytes=30 * GIB, reserved_bytes=33 * GIB, free_bytes=2 * GIB, total_bytes=40 * GIB,
    others_bytes=4 * GIB,
)


def whole(ledger: CardLedger) -> int:
    parts = (ledger.tensors_bytes, ledger.cached_bytes, ledger.context_bytes, ledger.others_bytes or 0)
    return sum(parts) + ledger.free_bytes


def test_the_parts_sum_to_the_card() -> None:
    """40 less 33 of PyTorch's, 4 of others and 2 free is the context."""
    assert FULL.ledger is not None and whole(FULL.ledger) == 40 * GIB and FULL.ledger.context_bytes == GIB
    assert ledger_line(FULL.ledger) == (
        "tensors 30.0 GiB, cached by PyTorch 3.0 GiB, context and libraries 1.0 GiB, other processes 4.0 GiB, "
        "free 2.0 GiB; together 40.0 GiB"
    )


def test_sizes_that_were_rounded_in_a_text_still_sum_to_the_card() -> None:
    rounded = Crash(0, allocated_bytes=9, reserved_bytes=9, free_bytes=2, total_bytes=10)
    assert rounded.ledger is not None and whole(rounded.ledger) == 10 and rounded.ledger.context_bytes == 0


def test_what_a_driver_does_not_tell_apart_is_one_part() -> None:
    ledger = CardLedger(10, tensors_bytes=4, cached_bytes=1, context_bytes=3, others_bytes=None, free_bytes=2)
    assert "context, libraries and other processes 3 B, free 2 B" in ledger_line(ledger)


@pytest.mark.parametrize("crash", [pytest.param(Crash(0, 5, 5, 0, 0), id="a text without the card's size")])
def test_a_card_of_unknown_size_has_no_ledger(crash: Crash) -> None:
    assert crash.ledger is None
