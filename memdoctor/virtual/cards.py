"""The cards that memdoctor knows: what `torch.cuda.get_device_properties` and `cudaMemGetInfo` say of each.

`total_bytes` is what a program sees, not what is printed on the box: error correction and firmware take their part, and
each driver series a little more or less (up to 1 %). Check by hand: `torch.cuda.mem_get_info()` in a new process; its
second number is `total_bytes`, and what is missing in the first is `context_bytes`.
"""

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
    """As `cudaMemGetInfo` gives it."""
    context_bytes: int
    """What the CUDA context and the loaded kernels take outside PyTorch's allocator."""
    compute_capability: tuple[int, int]
    sm_count: int
    max_threads_per_sm: int
    bandwidth_bytes_per_s: int
    source: str
    """Where `total_bytes` and `sm_count` were read; bandwidth is from NVIDIA's data sheets."""


_KERNELS_BYTES = 70 * MIB
_BYTES_PER_THREAD = 2048
"""A context is the kernels in use, loaded as they are needed since CUDA 11.7 (pytorch/pytorch#107667), and local memory
that the driver reserves for each thread that the card can hold. Both are fitted to out-of-memory messages of public
reports, which say what a process had beside PyTorch's reserved bytes: 16 kinds of cards with torch 2.1 and later, most
of them within 8 % and all within 17 %; `tests/virtual/test_cards.py` has those with an address. Extensions that bring
kernels and libraries of their own (NCCL, tiny-cuda-nn) take up to a few GiB more."""

_THREADS_PER_SM = {
    (6, 0): 2048, (7, 0): 2048, (7, 5): 1024, (8, 0): 2048, (8, 6): 1536,
    (8, 9): 1536, (9, 0): 2048, (10, 0): 2048, (12, 0): 1536,
}
"""CUDA C++ Programming Guide, technical specifications per compute capability."""


def _card(
    name: str, total_bytes: int, compute_capability: tuple[int, int], sm_count: int, gigabytes_per_s: int, source: str
) -> Card:
    threads = _THREADS_PER_SM[compute_capability]
    context_bytes = _KERNELS_BYTES + _BYTES_PER_THREAD * sm_count * threads
    return Card(
        name, total_bytes, context_bytes, compute_capability, sm_count, threads, gigabytes_per_s * 10**9, source
    )


_QUERY = "deviceQuery, driver for CUDA"
_SCALED = "12,282 MiB of nvidia-smi, less the share that the RTX 4080 loses (2.0 %)"
_PROPERTIES = "torch.cuda.get_device_properties, whole MiB"

CATALOGUE: dict[str, Card] = {
    "t4": _card("Tesla T4", 15_642_329_088, (7, 5), 40, 320, f"{_QUERY} 12.5"),
    "p100": _card("Tesla P100-PCIE-16GB", 17_071_734_784, (6, 0), 56, 732, f"{_QUERY} 11.4"),
    "v100-16gb": _card("Tesla V100-SXM2-16GB", 16_928_342_016, (7, 0), 80, 900, f"{_QUERY} 12.4"),
    "v100-32gb": _card("Tesla V100-SXM2-32GB", 34_072_559_616, (7, 0), 80, 900, f"{_QUERY} 12.9"),
    "rtx2080ti": _card("NVIDIA GeForce RTX 2080 Ti", 11_519_983_616, (7, 5), 68, 616, f"{_QUERY} 10.1"),
    "rtx3060": _card("NVIDIA GeForce RTX 3060", 11_938 * MIB, (8, 6), 28, 360, _PROPERTIES),
    "rtx3080": _card("NVIDIA GeForce RTX 3080", 10_472_390_656, (8, 6), 68, 760, f"{_QUERY} 12.0"),
    "rtx3090": _card("NVIDIA GeForce RTX 3090", 25_414_860_800, (8, 6), 82, 936, f"{_QUERY} 12.2"),
    "rtx4060": _card("NVIDIA GeForce RTX 4060", 7_813 * MIB, (8, 9), 24, 272, "7.63 GiB in out-of-memory messages"),
    "rtx4070": _card("NVIDIA GeForce RTX 4070", 12_037 * MIB, (8, 9), 46, 504, _SCALED),
    "rtx4080": _card("NVIDIA GeForce RTX 4080", 16_049 * MIB, (8, 9), 76, 717, _PROPERTIES),
    "rtx4090": _card("NVIDIA GeForce RTX 4090", 25_250_627_584, (8, 9), 128, 1_008, f"{_QUERY} 13.0"),
    "rtx5090": _card("NVIDIA GeForce RTX 5090", 33_660_534_784, (12, 0), 170, 1_792, f"{_QUERY} 13.0"),
    "a10": _card("NVIDIA A10", 23_696_375_808, (8, 6), 72, 600, f"{_QUERY} 12.8"),
    "a40": _card("NVIDIA A40", 47_608_692_736, (8, 6), 84, 696, f"{_QUERY} 12.4"),
    "a100-40gb": _card("NVIDIA A100-SXM4-40GB", 42_298_834_944, (8, 0), 108, 1_555, f"{_QUERY} 12.2"),
    "a100-80gb": _card("NVIDIA A100-SXM4-80GB", 85_100_068_864, (8, 0), 108, 2_039, f"{_QUERY} 12.5"),
    "a6000": _card("NVIDIA RTX A6000", 51_160_023_040, (8, 6), 84, 768, f"{_QUERY} 12.7"),
    "l4": _card("NVIDIA L4", 23_612_293_120, (8, 9), 58, 300, f"{_QUERY} 12.0"),
    "l40s": _card("NVIDIA L40S", 47_576_711_168, (8, 9), 142, 864, f"{_QUERY} 12.4"),
    "h100-80gb": _card("NVIDIA H100 80GB HBM3", 85_017_755_648, (9, 0), 132, 3_350, f"{_QUERY} 13.0"),
    "h200": _card("NVIDIA H200", 143_156 * MIB, (9, 0), 132, 4_800, _PROPERTIES),
    "b200": _card("NVIDIA B200", 182_631 * MIB, (10, 0), 148, 8_000, _PROPERTIES),
}


def find_card(name: str) -> Card:
    """The card of that name, or an anonymous Ampere card of that size, all of it usable.

    Spaces, dashes and case do not matter, nor does a leading `NVIDIA GeForce`. Raises `UnknownCard` for anything else,
    with the nearest names, and for a number without a unit: nobody means a card of 24 bytes.
    """
    by_plain_name = {_plain(known): card for known, card in CATALOGUE.items()}
    card = by_plain_name.get(_plain(name))
    if card is not None:
        return card
    if name.strip().replace(".", "", 1).isdecimal():
        raise UnknownCard(f"a card of {name.strip()} has no unit.", f"For gibibytes write {name.strip()}GiB.")
    try:
        return _anonymous(parse_bytes(name))
    except BadSize:
        raise _unknown(name) from None


def _plain(name: str) -> str:
    return name.lower().replace("nvidia", "").replace("geforce", "").translate(str.maketrans("", "", " -_"))


def _anonymous(total_bytes: int) -> Card:
    name = f"virtual card of {format_bytes(total_bytes)}"
    return Card(name, total_bytes, 0, (8, 0), 108, 2048, 1_555 * 10**9, "a size that was asked for; an A100's figures")


def _unknown(name: str) -> UnknownCard:
    near = [known for known in CATALOGUE if known.startswith(name.lower())]
    near = near or difflib.get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.4)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return UnknownCard(
        f"no card is called {name!r}.",
        f"{meant}memdoctor gpus --catalogue lists all cards; a size such as 24GiB works too.",
    )
