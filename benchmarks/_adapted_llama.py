"""Llama with low-rank adapters on queries and values: frozen bfloat16 weights, trained float32 adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    heads: int
    key_heads: int
    inner: int
    vocabulary: int


LLAMA_1B = Shape(layers=16, width=2048, heads=32, key_heads=8, inner=8192, vocabulary=128_256)
"""Llama 3.2 1B."""
LLAMA_7B = Shape(layers=32, width=4096, heads=32, key_heads=32, inner=11_008, vocabulary=32_000)
"""Llama 2 7B."""


def frozen(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16, device="cuda").requires_grad_(False)


class Adapted(nn.Module):
    """A frozen layer and the product of two thin matrices."""

    def __init__(self, inputs: int, outputs: int, rank: int = 16) -> None:
        super().__init__()
        self.base = frozen(inputs, outputs)
        self.down = nn.Linear(inputs, rank, bias=False, device="cuda")
        self.up = nn.Linear(rank, outputs, bias=False, device="cuda")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + 2.0 * self.up(self.down(functional.dropout(x, 0.05)))


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=torch.bfloat16, device="cuda"), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.size = shape.heads, shape.width // shape.heads
        keys = shape.key_heads * self.size
        self.query, self.value = Adapted(shape.width, shape.width), Adapted(shape.width, keys)
        self.key, self.out = frozen(shape.width, keys), frozen(shape.width, shape.width)
        self.gate, self.up = frozen(shape.width, shape.inner), frozen(shape.width, shape.inner)
        self.down = frozen(shape.inner, shape.width)
        self.first, self.second = Norm(shape.width), Norm(shape.width)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        normed = self.first(x)
        query, key, value = (
            part.view(batch, length, -1, self.size).transpose(1, 2)
            for part in (self.query(normed), self.key(normed), self.value(normed)))
        query, key = (turned(part, cosine, sine) for part in (query, key))
        key, value = (part.repeat_interleave(self.heads // part.shape[1], 1) for part in (key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        normed = self.second(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


def turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary positions."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat((-second, first), -1) * sine


class Llama(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.width, dtype=torch.bfloat16, device="cuda")
        self.tokens.requires_grad_(False)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm, self.head = Norm(shape.width), frozen(shape.width, shape.vocabulary)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens)
        angles = torch.randn(tokens.shape[1], self.layers[0].size, device="cuda")
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for layer in self.layers:
            x = layer(x, cosine, sine)
        return self.head(self.norm(x))


def adapted_step(shape: Shape) -> Callable[[], None]:
    """A training step of one sequence of 512 tokens."""
    model = Llama(shape)
    optimizer = torch.optim.AdamW(weight for weight in model.parameters() if weight.requires_grad)
    tokens = torch.randint(0, shape.vocabulary, (1, 512), device="cuda")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(tokens)
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
        loss.backward()
        optimizer.step()

    return step
