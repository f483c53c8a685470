"""One whole training step for the models of `_image_models.py` and `_sequence_models.py`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import nn

Step = Callable[[], None]
Loss = Callable[[], torch.Tensor]


def training(
    model: nn.Module, losses: Loss | Sequence[Loss], *, half: torch.dtype | None = None
) -> Step:
    """AdamW on what can be trained; several losses are accumulated, and `half` is the dtype of autocast."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
    parts = [losses] if callable(losses) else losses
    scaler = torch.amp.GradScaler("cuda", enabled=half is torch.float16)

    def step() -> None:
        optimizer.zero_grad()
        for part in parts:
            with torch.autocast("cuda", half or torch.float16, enabled=half is not None):
                loss = part()
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def on_card() -> torch.device:
    """Within `with on_card():` what is built is built on the card, and costs the host nothing."""
    return torch.device("cuda")


def images(batch_size: int, *shape: int) -> torch.Tensor:
    return torch.randn(batch_size, *shape, device="cuda")


def classes(kinds: int, *shape: int) -> torch.Tensor:
    return torch.randint(kinds, shape, device="cuda")


def longest(batch_size: int, shortest: int, limit: int) -> int:
    """The length that a batch of the first sentences of a shuffled corpus is padded to."""
    corpus = random.Random(0)
    return max(corpus.randint(shortest, limit) for _ in range(batch_size))


def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of the last dimension, whatever stands before it."""
    return nn.functional.cross_entropy(logits.flatten(0, -2), target.flatten())
