"""Outputs collected to be used at the end: as they are, each holds its graph and every activation behind it."""

from __future__ import annotations

import psutil
import torch
from sklearn.datasets import load_digits
from torch import nn

BATCH_SIZE = 128


def encoder() -> nn.Module:
    """Four numbers for each image."""
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 8 * 8, 4),
    )


def held_mib(device: torch.device) -> int:
    """What the card holds in tensors; without a card, what this process holds."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return held // 2**20


def collect_values(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    features = []
    for batch in images.split(BATCH_SIZE):
        output = model(batch)
        features.append(output.detach().cpu())
    return features


def collect_graphs(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    features = []
    for batch in images.split(BATCH_SIZE):
        output = model(batch)
        features.append(output)
    return features


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    images = torch.tensor(load_digits().images, dtype=torch.float32, device=device).unsqueeze(1) / 16
    model = encoder().to(device)

    collect_values(model, images)  # The first calls also fill caches of the libraries.
    at_start = held_mib(device)
    values = collect_values(model, images)
    with_values = held_mib(device)
    graphs = collect_graphs(model, images)
    with_graphs = held_mib(device)

    print(f"append(output.detach().cpu()): {len(values)} outputs hold {with_values - at_start} MiB")
    print(f"append(output):                {len(graphs)} outputs hold {with_graphs - with_values} MiB")
    print("Both lists have the same numbers; the second can still call backward(), and pays for it.")


if __name__ == "__main__":
    main()
