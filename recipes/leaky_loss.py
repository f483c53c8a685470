"""A training script with the most common leak there is: a validation loss that is summed together with its graph.

::

    python recipes/leaky_loss.py                                 memory grows with every iteration
    python recipes/leaky_loss.py --fixed                         the same training, and memory stays flat
    memdoctor run --virtual a100-40gb recipes/leaky_loss.py      names the variable and the line
"""

from __future__ import annotations

import argparse

import psutil
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 3

Batch = tuple[torch.Tensor, torch.Tensor]
Loader = DataLoader[tuple[torch.Tensor, ...]]

criterion = nn.CrossEntropyLoss()


def digits() -> tuple[TensorDataset, TensorDataset]:
    """1,541 images of 8 x 8 pixels to train on and 256 to validate with."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(data.target)
    return TensorDataset(images[256:], labels[256:]), TensorDataset(images[:256], labels[:256])


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss = criterion(model(images), labels)
    loss.backward()
    optimizer.step()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Loader, validation: Batch) -> None:
    """Sums the validation loss as it is, with the graph that a `backward()` would free."""
    images, labels = validation
    validation_loss = 0.0
    for epoch in range(EPOCHS):
        for batch in loader:
            train_step(model, optimizer, *(tensor.to(images.device) for tensor in batch))
            validation_loss += criterion(model(images), labels)
        print_epoch(epoch, validation_loss / (epoch + 1) / len(loader))


def train_fixed(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Loader, validation: Batch) -> None:
    """The same training; the sum is a number, and there is no graph to begin with."""
    images, labels = validation
    validation_loss = 0.0
    for epoch in range(EPOCHS):
        for batch in loader:
            train_step(model, optimizer, *(tensor.to(images.device) for tensor in batch))
            with torch.no_grad():
                validation_loss += criterion(model(images), labels).item()
        print_epoch(epoch, validation_loss / (epoch + 1) / len(loader))


def print_epoch(epoch: int, validation_loss: float | torch.Tensor) -> None:
    print(f"epoch {epoch + 1}: mean validation loss {validation_loss:.3f}, {held_mib()} MiB held")


def held_mib() -> int:
    """What the card holds in tensors; without a card, what this process holds."""
    on_card = torch.cuda.is_available()
    return (torch.cuda.memory_allocated() if on_card else psutil.Process().memory_info().rss) // 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on handwritten digits, and leak.")
    parser.add_argument("--fixed", action="store_true", help="sum the validation loss as a number")
    fixed = parser.parse_args().fixed
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    training, validation = digits()
    loader = DataLoader(training, batch_size=64, shuffle=True)
    model = network().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    on_device = validation.tensors[0].to(device), validation.tensors[1].to(device)
    if fixed:
        train_fixed(model, optimizer, loader, on_device)
        print("A number has no graph: the sum keeps nothing.")
    else:
        train(model, optimizer, loader, on_device)
        print("Nobody calls backward() on validation_loss: it keeps the activations of every iteration.")


if __name__ == "__main__":
    main()
