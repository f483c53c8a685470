"""The loop around the models: what a training script does in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

Step = Callable[[], None]
"""One step; what it leaves behind is in its closure, as in a script's globals."""
LossOf = Callable[[nn.Module], torch.Tensor]


def training(
    model: nn.Module, loss_of: LossOf, *, precision: torch.dtype | None = None, clip: float | None = None,
    accumulation: int = 1, optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = torch.optim.AdamW,
) -> Step:
    model.cuda().train()
    chosen = optimizer([parameter for parameter in model.parameters() if parameter.requires_grad])
    scaler = torch.amp.GradScaler("cuda", enabled=precision is torch.float16)

    def step() -> None:
        for _ in range(accumulation):
            with torch.autocast("cuda", dtype=precision or torch.bfloat16, enabled=precision is not None):
                loss = loss_of(model) / accumulation
            scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(chosen)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(chosen)
        scaler.update()
        chosen.zero_grad()
    return step


def without_cudnn(step: Step) -> Step:
    def run() -> None:
        with torch.backends.cudnn.flags(enabled=False):
            step()
    return run


def tokens(batch: int, length: int, count: int) -> torch.Tensor:
    return torch.randint(0, count, (batch, length)).cuda()


def images(batch: int, size: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, size, size).cuda()
