"""What half precision halves: under autocast the activations of a large batch; with half weights everything.

Under autocast the weights stay float32, and each layer works on a half copy of its weights that lives as long as the
graph. A large batch gains more than the copies cost, a small one does not.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

LAYERS = 8
WIDTH = 1024
PRECISIONS = (
    ("float32", torch.float32, False),
    ("bfloat16 autocast", torch.float32, True),
    ("bfloat16 weights", torch.bfloat16, False),
)


def network() -> nn.Module:
    hidden = [layer for _ in range(LAYERS) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), *hidden, nn.Linear(WIDTH, 10))


def forward_bytes(images: torch.Tensor, weights: torch.dtype, autocast: bool) -> tuple[int, int]:
    """Bytes of the weights, and what one forward pass saves for backward besides them."""
    model = network().to(images.device, weights)
    saved: dict[int, int] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage.nbytes()  # once, however many layers save it
        return tensor.detach()  # a layer's own output, kept by its graph, would be a cycle

    precision = torch.autocast(images.device.type, torch.bfloat16) if autocast else nullcontext()
    with precision, saved_tensors_hooks(remember, lambda tensor: tensor):
        scores = model(images.to(weights))
    for parameter in model.parameters():
        saved.pop(parameter.untyped_storage()._cdata, None)
    del scores  # until here it kept the graph, and so each storage its address
    return sum(parameter.nbytes for parameter in model.parameters()), sum(saved.values())


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    images = torch.tensor(load_digits().data, dtype=torch.float32, device=device) / 16
    for batch_size in (32, len(images)):
        print(f"batch of {batch_size}:")
        for name, weights, autocast in PRECISIONS:
            weight_bytes, saved_bytes = forward_bytes(images[:batch_size], weights, autocast)
            weight_mib, saved_mib = weight_bytes / 2**20, saved_bytes / 2**20
            print(f"    {name:18} weights {weight_mib:4.1f} MiB, kept for backward {saved_mib:4.1f} MiB")
    print("Autocast halves the activations of a large batch; for a small one its copies of the weights cost more.")
    print("Half weights halve everything, and round each update of the optimizer to 8 bits.")


if __name__ == "__main__":
    main()
