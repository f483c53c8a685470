"""The cards that memdoctor knows: what `torch.cuda.get_device_properties` and `cudaMemGetInfo` say of each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from memdoctor.foundation.errors import BadSize, UnknownCard
from memdoctor.foundation.units import MIB, format_bytes, parse_bytes


@dataclass(frozen=True)
class Card:
    """One kind of card."""

    name: str
    """As `torch.cuda.get_device_name()` says it."""
    total_bytes: int
    """As `cudaMemGetInfo` gives it; less than the printed size, ECC and firmware are taken off."""
    context_bytes: int
    """What the CUDA context and loaded kernels take outside PyTorch's allocator."""
    compute_capability: tuple[int, int]
    sm_count: int
    max_threads_per_sm: int
    bandwidth_bytes_per_s: int
    source: str
    """Where the figures come from."""


_CONTEXT_BYTES = 450 * MIB
CATALOGUE: dict[str, Card] = {
    "a100-40gb": Card("NVIDIA A100-SXM4-40GB", 42_298_834_944, _CONTEXT_BYTES, (8, 0), 108, 2048, 1_555 * 10**9, ""),
    "a100-80gb": Card("NVIDIA A100-SXM4-80GB", 84_987_740_160, _CONTEXT_BYTES, (8, 0), 108, 2048, 2_039 * 10**9, ""),
}


def find_card(name: str) -> Card:
    """The card of that name, or an anonymous Ampere card of that size, all of it usable.

    Raises `UnknownCard` for anything else, with the nearest names.
    """
    card = CATALOGUE.get(name.strip().lower())
    if card is not None:
        return card
    try:
        return _anonymous(parse_bytes(name))
    except BadSize:
        raise _unknown(name) from None


def _anonymous(total_bytes: int) -> Card:
    name = f"virtual card of {format_bytes(total_bytes)}"
    return Card(name, total_bytes, 0, (8, 0), 108, 2048, 1_555 * 10**9, "a size that was asked for; an A100's figures")


def _unknown(name: str) -> UnknownCard:
    near = difflib.get_close_matches(name.lower(), CATALOGUE, n=3)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return UnknownCard(
        f"no card is called {name!r}.",
        f"{meant}memdoctor gpus --catalogue lists all cards; a size such as 24GiB works too.",
    )
