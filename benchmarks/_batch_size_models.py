"""Training steps of different families, small enough that building one takes less than a second."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

Step = Callable[[], None]
Loss = Callable[[torch.Tensor], torch.Tensor]


def mlp(batch_size: int) -> Step:
    model = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 1000))
    return _training(model, _signals(batch_size, 2048), _energy)


def convolutions(batch_size: int) -> Step:
    return _training(_convolutions(), _signals(batch_size, 3, 64, 64), _energy)


def convolutions_amp(batch_size: int) -> Step:
    return _training(_convolutions(), _signals(batch_size, 3, 64, 64), _energy, amp=True)


def transformer(batch_size: int) -> Step:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    model = nn.Sequential(nn.Embedding(8000, 256), encoder, nn.Linear(256, 8000))
    return _training(model, torch.randint(8000, (batch_size, 128), device="cuda"), _first_word)


def recurrent(batch_size: int) -> Step:
    return _training(_LastState(), _signals(batch_size, 100, 128), _energy)


def accumulation(batch_size: int) -> Step:
    """Four batches before each step of the optimizer."""
    model = nn.Sequential(nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 1024))
    return _training(model, _signals(4 * batch_size, 1024), _energy, batches=4)


MODELS = (mlp, convolutions, convolutions_amp, transformer, recurrent, accumulation)


class _LastState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(128, 512, num_layers=2, batch_first=True)
        self.head = nn.Linear(512, 10)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(signal)
        out: torch.Tensor = self.head(states[:, -1])
        return out


def _convolutions() -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (3, 64, 64, 64):
        layers += [nn.Conv2d(channels, 64, kernel_size=3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def _signals(*shape: int) -> torch.Tensor:
    return torch.randn(shape, device="cuda")


def _energy(out: torch.Tensor) -> torch.Tensor:
    return out.float().square().mean()


def _first_word(out: torch.Tensor) -> torch.Tensor:
    words = out.flatten(0, 1)
    return nn.functional.cross_entropy(words, torch.zeros(len(words), dtype=torch.long, device="cuda"))


def _training(model: nn.Module, data: torch.Tensor, loss: Loss, *, amp: bool = False, batches: int = 1) -> Step:
    model.to("cuda")
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cuda", enabled=amp)

    def step() -> None:
        optimizer.zero_grad()
        for batch in data.chunk(batches):
            with torch.autocast("cuda", torch.float16, enabled=amp):
                value = loss(model(batch))
            scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()

    return step
