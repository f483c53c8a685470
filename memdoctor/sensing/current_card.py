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

    def usable_bytes(self) -> int:
        """What PyTorch has of the card and could still get; kernels and libraries that were loaded since are off it."""
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved())

    def leave_free(self, nbytes: int) -> None:
        """PyTorch may have all of the room but so much; before anything is on the card."""
        total_bytes = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction((self.room_bytes - nbytes) / total_bytes)

    def peak_bytes(self) -> int:
        """The most that was allocated since the process began, or since the last reset."""
        return int(torch.cuda.max_memory_allocated())

    def reset_peak(self) -> None:
        """For processes that nobody else reads the peak in."""
        torch.cuda.reset_peak_memory_stats()

    def count(self, name: str) -> int:
        """A counter of `torch.cuda.memory_stats()`, 0 where this PyTorch does not know it."""
        return int(torch.cuda.memory_stats().get(name, 0))


def current_card() -> CurrentCard | None:
    """None where `torch.cuda.is_available()` is false."""
    return CurrentCard() if torch.cuda.is_available() else None
