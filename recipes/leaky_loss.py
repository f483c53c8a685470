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


def held_mib(device: torch.device) -> int:
    """What the card holds in tensors; without a card, what this process holds."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return held // 2**20


def train(fixed: bool, device: torch.device) -> list[int]:
    """The memory held after each epoch, in MiB."""
    torch.manual_seed(0)
    training, validation = digits()
    loader = DataLoader(training, batch_size=64, shuffle=True)
    held_out_images, held_out_labels = (tensor.to(device) for tensor in validation.tensors)
    model = network().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    validation_loss = 0.0
    held = []

    for epoch in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()

            model.eval()
            if fixed:
                with torch.no_grad():
                    validation_loss += criterion(model(held_out_images), held_out_labels).item()
            else:
                validation_loss += criterion(model(held_out_images), held_out_labels)
            model.train()
        held.append(held_mib(device))
        mean = validation_loss / len(loader) / (epoch + 1)
        print(f"epoch {epoch + 1}: mean validation loss {mean:.3f}, {held[-1]} MiB held")
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on handwritten digits, and leak.")
    parser.add_argument("--fixed", action="store_true", help="sum the validation loss as a number")
    fixed = parser.parse_args().fixed
    held = train(fixed, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    print(f"From the first epoch to the last: {held[-1] - held[0]:+d} MiB.")
    if fixed:
        print("A number has no graph: no_grad() keeps no activations, and .item() takes the value out.")
    else:
        print("Nobody calls backward() on validation_loss, so the sum keeps the activations of every iteration.")


if __name__ == "__main__":
    main()
