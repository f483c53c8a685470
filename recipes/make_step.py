"""The function that `memdoctor batch-size` asks for, and why few trials are enough to find the largest batch.

::

    python recipes/make_step.py                                        bytes kept for backward, by batch size
    memdoctor batch-size recipes/make_step.py:make_step --card 1GiB    the largest batch that fits

`make_step(batch_size)` builds everything that occupies the card, model, optimizer and one batch, and returns a function
that runs one whole training step, the optimizer's included: its state is made in the first step and stays.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import nn

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_step(batch_size: int) -> Callable[[], None]:
    model = network().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters())
    images, labels = batch_of(batch_size)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def batch_of(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits, enlarged to 32 x 32 pixels. There are 1,797: a larger batch repeats them, or it would be no larger."""
    data = load_digits()
    chosen = torch.arange(size) % len(data.target)
    images = torch.tensor(data.images, dtype=torch.float32)[chosen].unsqueeze(1).repeat_interleave(4, 2)
    return images.repeat_interleave(4, 3).to(DEVICE), torch.tensor(data.target)[chosen].to(DEVICE)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def bytes_kept_for_backward(batch_size: int) -> int:
    """What autograd saves in a forward pass, each storage once."""
    step = make_step(batch_size)
    kept: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        step()
    return sum(kept.values())


def main() -> None:
    sizes = (16, 32, 64, 128)
    kept = {size: bytes_kept_for_backward(size) for size in sizes}
    for size in sizes:
        print(f"batch size {size:3}: {kept[size] / 2**20:5.1f} MiB kept for backward")
    per_image = (kept[32] - kept[16]) // 16
    error = abs(kept[16] + per_image * (128 - 16) - kept[128]) / kept[128]
    print(f"each image adds {per_image / 2**10:.0f} KiB: the line through 16 and 32 misses 128 by {error:.1%}.")
    print("So few trials find the largest batch: memdoctor batch-size recipes/make_step.py:make_step --card 1GiB")


if __name__ == "__main__":
    main()
