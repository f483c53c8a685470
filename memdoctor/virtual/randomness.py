"""Generators of the card: seed and state are those of a host generator of their own.

Numbers are drawn from the first one where values are computed, and never from the host's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from memdoctor.virtual.device import number_of

_HostGenerator = torch.Generator


class _AnyGenerator(type(_HostGenerator)):  # type: ignore[misc]  # the metaclass is known at run time only
    """Generators made before, and PyTorch's default one, are instances too."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _HostGenerator)


class Generator(_HostGenerator, metaclass=_AnyGenerator):
    """Stands for `torch.Generator`, and accepts `device="cuda"`."""

    _card: torch.device

    def __new__(cls, device: Any = "cpu") -> Any:
        if not isinstance(device, int) and torch.device(device).type != "cuda":
            return _HostGenerator(device)
        generator = _HostGenerator.__new__(cls, "cpu")  # type: ignore[call-arg]  # torch's stubs have no __new__
        generator._card = torch.device("cuda", number_of(device))
        return generator

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # read-only in torch too; its stubs say otherwise
        return self._card


@contextlib.contextmanager
def drawn_from_card(device: int) -> Iterator[None]:
    """Within, the host's generator has the state of the card's; both go on from where they were."""
    generator = torch.cuda.default_generators[device]
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
