"""Evaluation under `model.eval()` alone: autograd still saves every activation for a `backward()` that never comes."""

from __future__ import annotations

import psutil
import torch
from sklearn.datasets import load_digits
from torch import nn

BATCH_SIZE = 600


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 8 * 8, 10),
    )


def held_mib(device: torch.device) -> int:
    """What the card holds in tensors; without a card, what this process holds."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return held // 2**20


def evaluate(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """The most MiB held while a batch's scores exist."""
    model.eval()
    correct, most_held = 0, 0
    for image_batch, label_batch in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE)):
        scores = model(image_batch)
        correct += int((scores.argmax(dim=1) == label_batch).sum())
        most_held = max(most_held, held_mib(images.device))
    print(f"{correct} of {len(images)} digits right before training, at most {most_held} MiB held")
    return most_held


@torch.no_grad()
def evaluate_without_graph(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """The same evaluation, and nothing is saved for backward."""
    return evaluate(model, images, labels)


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32, device=device).unsqueeze(1) / 16
    labels = torch.tensor(data.target, device=device)
    model = network().to(device)

    without_graph = evaluate_without_graph(model, images, labels)
    with_graph = evaluate(model, images, labels)
    print(f"model.eval() alone costs {with_graph - without_graph} MiB more than model.eval() under torch.no_grad().")


if __name__ == "__main__":
    main()
