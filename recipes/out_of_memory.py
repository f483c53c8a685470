"""A batch that does not fit: what training keeps of each image until backward, for batches that double.

::

    python recipes/out_of_memory.py                              the bytes, without a card to fill
    memdoctor run --virtual 1GiB recipes/out_of_memory.py        the crash, where the bytes are, and what to do
    python recipes/out_of_memory.py --checkpoint                 the first remedy: blocks are computed twice
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

BATCH_SIZES = (128, 256, 512, 1024)
CHANNELS = 24


class Network(nn.Module):
    """Eight layers on digits enlarged to 32 x 32: an activation takes 96 KiB an image."""

    def __init__(self, *, recomputes: bool) -> None:
        super().__init__()
        self.recomputes = recomputes
        self.enlarge = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(1, CHANNELS, kernel_size=1))
        self.layers = nn.Sequential(*(layer() for _ in range(8)))
        self.head = nn.Linear(CHANNELS * 32 * 32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        enlarged = self.enlarge(images)
        if self.recomputes:
            features = checkpoint_sequential(self.layers, 4, enlarged, use_reentrant=False)
        else:
            features = self.layers(enlarged)
        scores: torch.Tensor = self.head(features.flatten(1))
        return scores


def layer() -> nn.Module:
    return nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, kernel_size=1), nn.ReLU())


def digits(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """1,797 images of 8 x 8 pixels."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    return images.to(device), torch.tensor(data.target).to(device)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor) -> int:
    """Bytes that the forward pass saves for backward, each storage once."""
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr() or id(storage)] = storage.nbytes()
        return tensor

    optimizer.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return sum(saved.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Train with batches that double until the card is full.")
    parser.add_argument("--checkpoint", action="store_true", help="compute the layers again in backward")
    recomputes = parser.parse_args().checkpoint
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    images, labels = digits(device)
    model = Network(recomputes=recomputes).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch_size in BATCH_SIZES if device.type == "cuda" else BATCH_SIZES[:2]:  # a host would take its time
        saved_bytes = train_step(model, optimizer, images[:batch_size], labels[:batch_size])
        print(f"batch of {batch_size:4}: {saved_bytes / 2**20:6.1f} MiB saved for backward")
    print("Twice the images, twice the activations: parameters, gradients and optimizer state stay as they are.")


if __name__ == "__main__":
    main()
