"""The card that a program means by "cuda" in this process, whether `torch.cuda` is the real one or a virtual GPU's."""

from __future__ import annotations

import torch


class CurrentCard:
    """What PyTorch can use of the card from now on; making one creates the card's CUDA context."""

    def __init__(self) -> None:
        self.name = torch.cuda.get_device_name()
        self.room_bytes = torch.cuda.mem_get_info()[0]
        """Check by hand: the free memory of `nvidia-smi`, less the context that appears with the first tensor."""

    def wait(self) -> None:
        """Until everything that was asked of the card is done; an error of a kernel comes out here."""
        torch.cuda.synchronize()

    def peak_bytes(self) -> int:
        """The most that was allocated since the process began, or since the program reset it."""
        return int(torch.cuda.max_memory_allocated())


def current_card() -> CurrentCard | None:
    """None where `torch.cuda.is_available()` is false."""
    return CurrentCard() if torch.cuda.is_available() else None
