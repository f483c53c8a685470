"""Where a card's bytes are, in one sentence whose figures sum to the card."""

from __future__ import annotations

from memdoctor.foundation.breakdown import CardLedger
from memdoctor.foundation.units import format_bytes


def ledger_line(ledger: CardLedger) -> str:
    """Tensors, cache, context, other processes, free; the last two parts of a card that hides them are said as one."""
    others = "" if ledger.others_bytes is None else f"other processes {format_bytes(ledger.others_bytes)}, "
    context = "context, libraries and other processes" if ledger.others_bytes is None else "context and libraries"
    return (
        f"tensors {format_bytes(ledger.tensors_bytes)}, cached by PyTorch {format_bytes(ledger.cached_bytes)}, "
        f"{context} {format_bytes(ledger.context_bytes)}, {others}free {format_bytes(ledger.free_bytes)}; "
        f"together {format_bytes(ledger.total_bytes)}"
    )
