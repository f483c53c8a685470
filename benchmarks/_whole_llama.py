"""Llama 3.2 3B trained whole in bfloat16, with the memory-saving techniques that one applies on top of each other.

Norms and rotary positions are computed in float32 and keys are repeated for each query head, as fine-tuning libraries
write them; attention is causal over one packed sequence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

LAYERS, WIDTH, HEADS, KEY_HEADS, INNER, VOCABULARY = 28, 3072, 24, 8, 8192, 128_256
SIZE = WIDTH // HEADS


@dataclass(frozen=True)
class Techniques:
    """Each adds to those before it in the published table."""

    has_chunked_loss: bool = False
    has_checkpoints: bool = False
    steps_in_backward: bool = False
    offloads: bool = False


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).type_as(x) * self.scale


def turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary positions over neighbouring pairs, in float32."""
    pairs = x.float().reshape(*x.shape[:-1], -1, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    both = torch.stack((first * cosine - second * sine, second * cosine + first * sine), -1)
    return both.flatten(3).type_as(x)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Norm(), Norm()
        self.query, self.out = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.key, self.value = (nn.Linear(WIDTH, KEY_HEADS * SIZE, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.first(x), cosine, sine)
        normed = self.second(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))

    def attention(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        query, key, value = (
            part.view(batch, length, -1, SIZE) for part in (self.query(x), self.key(x), self.value(x)))
        query, key = turned(query, cosine, sine), turned(key, cosine, sine)
        key, value = (
            part.unsqueeze(3).expand(-1, -1, -1, HEADS // KEY_HEADS, -1).flatten(2, 3) for part in (key, value))
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


class Llama(nn.Module):
    """Its head shares the weights of the embedding."""

    def __init__(self, techniques: Techniques) -> None:
        super().__init__()
        self.techniques = techniques
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = Norm()

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens)
        angles = torch.randn(tokens.shape[1], 1, SIZE // 2, device=tokens.device, dtype=torch.float32)
        cosine, sine = angles.cos(), angles.sin()
        for layer in self.layers:
            if self.techniques.has_checkpoints:
                x = checkpoint(layer, x, cosine, sine, use_reentrant=False)
            else:
                x = layer(x, cosine, sine)
        return self.norm(x)

    def loss(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        hidden = self.hidden(tokens)
        if not self.techniques.has_chunked_loss:
            logits = functional.linear(hidden, self.tokens.weight).float()
            return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        chunks = [functional.linear(chunk, self.tokens.weight) for chunk in hidden.chunk(8, 1)]
        losses = [
            functional.cross_entropy(logits.float().flatten(0, 1), part.flatten(), reduction="sum")
            for logits, part in zip(chunks, labels.chunk(8, 1))]
        return torch.stack(losses).sum() / labels.numel()


def whole_step(techniques: Techniques, batch: int, length: int) -> Callable[[], None]:
    """A training step of packed sequences with AdamW."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            model = Llama(techniques)
    finally:
        torch.set_default_dtype(torch.float32)
    tokens = torch.randint(0, VOCABULARY, (batch, length), device="cuda")
    update = in_backward(model) if techniques.steps_in_backward else after_backward(model)
    offloading = torch.autograd.graph.save_on_cpu(pin_memory=True) if techniques.offloads else contextlib.nullcontext()

    def step() -> None:
        with offloading:
            loss = model.loss(tokens, tokens)
        loss.backward()
        update()

    return step


def after_backward(model: nn.Module) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return update


def in_backward(model: nn.Module) -> Callable[[], None]:
    """Each parameter's own optimizer steps as soon as its gradient is there, and drops it."""
    optimizers = {weight: torch.optim.AdamW([weight], fused=True) for weight in model.parameters()}

    def update_one(weight: torch.Tensor) -> None:
        optimizers[weight].step()
        optimizers[weight].zero_grad()

    for weight in model.parameters():
        weight.register_post_accumulate_grad_hook(update_one)
    return lambda: None
