"""The line that every tutorial warns of, `total_loss += loss` after `backward()`, and what it really keeps.

`backward()` has already released the activations, so the sum keeps no device memory to speak of. It keeps the nodes of
every graph so far, in host memory, for as long as the sum lives.
"""

from __future__ import annotations

import psutil
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.autograd.graph import Node

EPOCHS = 12
BATCH_SIZE = 64


def network() -> nn.Module:
    """Seven linear layers."""
    hidden = [layer for _ in range(5) for layer in (nn.Linear(128, 128), nn.ReLU())]
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), *hidden, nn.Linear(128, 10))


def graph_nodes(tensor: torch.Tensor) -> int:
    """How many autograd nodes the tensor keeps alive."""
    seen: set[Node] = set()
    to_visit = [tensor.grad_fn]
    while to_visit:
        node = to_visit.pop()
        if node is not None and node not in seen:
            seen.add(node)
            to_visit.extend(earlier for earlier, _ in node.next_functions)
    return len(seen)


def print_reading(iterations: int, total_loss: torch.Tensor) -> None:
    process_mib = psutil.Process().memory_info().rss / 2**20
    card_mib = torch.cuda.memory_allocated() / 2**20
    print(
        f"{iterations:3} iterations, mean loss {total_loss / iterations:.2f}: {graph_nodes(total_loss):5} graph nodes, "
        f"process {process_mib:.1f} MiB, card {card_mib:.1f} MiB"
    )


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    data = load_digits()
    image_batches = (torch.tensor(data.data, dtype=torch.float32, device=device) / 16).split(BATCH_SIZE)
    label_batches = torch.tensor(data.target, device=device).split(BATCH_SIZE)
    model = network().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    total_loss = 0.0
    iterations = 0

    for epoch in range(EPOCHS):
        for images, labels in zip(image_batches, label_batches):
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total_loss += loss
            iterations += 1
        if epoch % 3 == 2:
            print_reading(iterations, total_loss)

    print("After backward() the sum keeps no activations, only nodes in host memory: the card does not grow.")
    print("`total_loss += loss.item()` keeps nothing. Without backward() the sum keeps everything: leaky_loss.py.")


if __name__ == "__main__":
    main()
