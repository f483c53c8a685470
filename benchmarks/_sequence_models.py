"""Training steps on text, sound, graphs and clicks: ten families, each `make_step(batch_size)`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from _training_step import Step, classes, cross_entropy, images, longest, on_card, training
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


def lstm(batch_size: int) -> Step:
    """A language model whose logits cost more than its states."""
    with on_card():
        words, cell, head = nn.Embedding(10_000, 512), nn.LSTM(512, 1024, 2, batch_first=True), nn.Linear(1024, 10_000)
    text = classes(10_000, batch_size, 256)
    return training(nn.ModuleList([words, cell, head]), lambda: cross_entropy(head(cell(words(text))[0]), text))


def gru(batch_size: int) -> Step:
    """Spectra of sound, padded to the longest of the batch."""
    frames = longest(batch_size, 200, 2000)
    with on_card():
        cell, head = nn.GRU(80, 512, 3, batch_first=True, bidirectional=True), nn.Linear(1024, 500)
    sound, label = images(batch_size, frames, 80), classes(500, batch_size, frames)
    return training(nn.ModuleList([cell, head]), lambda: cross_entropy(head(cell(sound)[0]), label))


def encoder(batch_size: int) -> Step:
    """Sentences padded to the longest of the batch, in mixed precision."""
    length = longest(batch_size, 16, 512)
    with on_card():
        layer = nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True)
        body = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        words, head = nn.Embedding(30_522, 768), nn.Linear(768, 30_522)
    text = classes(30_522, batch_size, length)
    model = nn.ModuleList([words, body, head])
    return training(model, lambda: cross_entropy(head(body(words(text))), text), half=torch.float16)


def translation(batch_size: int) -> Step:
    """Encoder and decoder."""
    with on_card():
        words, body, head = nn.Embedding(16_000, 512), nn.Transformer(batch_first=True), nn.Linear(512, 16_000)
    source, target = classes(16_000, batch_size, 128), classes(16_000, batch_size, 112)
    model = nn.ModuleList([words, body, head])
    return training(model, lambda: cross_entropy(head(body(words(source), words(target))), target))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, *, causal: bool, linear: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.before_attention, self.before_rest = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = linear(width, 3 * width), linear(width, width)
        self.rest = nn.Sequential(linear(width, 4 * width), nn.GELU(), linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.query_key_value(self.before_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts, is_causal=self.causal)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        x = x + self.rest(self.before_rest(x))
        return x


class _Decoder(nn.Module):
    def __init__(
        self, width: int, depth: int, *, linear: Callable[[int, int], nn.Module] = nn.Linear, forget: bool = False
    ) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(32_000, width), nn.Linear(width, 32_000, bias=False)
        self.blocks = nn.ModuleList([_Block(width, width // 64, causal=True, linear=linear) for _ in range(depth)])
        self.forget = forget

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.words(text)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.forget else block(x)
        logits: torch.Tensor = self.head(x)
        return logits


def gpt(batch_size: int) -> Step:
    with on_card():
        model = _Decoder(768, 12)
    text = classes(32_000, batch_size, 1024)
    return training(model, lambda: cross_entropy(model(text), text), half=torch.bfloat16)


def checkpointed(batch_size: int) -> Step:
    """Each block is computed again in the backward pass."""
    with on_card():
        model = _Decoder(1024, 24, forget=True)
    text = classes(32_000, batch_size, 512)
    return training(model, lambda: cross_entropy(model(text), text), half=torch.bfloat16)


class _LowRank(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.frozen = nn.Linear(width_in, width_out, dtype=torch.bfloat16).requires_grad_(False)
        self.narrow = nn.Linear(width_in, 16, bias=False, dtype=torch.bfloat16)
        self.wide = nn.Linear(16, width_out, bias=False, dtype=torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.frozen(x) + self.wide(self.narrow(x))
        return out


def low_rank(batch_size: int) -> Step:
    """Only adapters are trained, beside frozen weights in bfloat16."""
    with on_card():
        model = _Decoder(2048, 24, linear=_LowRank).to(torch.bfloat16)
    model.words.requires_grad_(False)
    model.head.requires_grad_(False)
    text = classes(32_000, batch_size, 512)
    return training(model, lambda: cross_entropy(model(text), text))


def vision_transformer(batch_size: int) -> Step:
    with on_card():
        patches, head = nn.Conv2d(3, 768, 16, 16), nn.Linear(768, 1000)
        blocks = nn.Sequential(*[_Block(768, 12, causal=False, linear=nn.Linear) for _ in range(12)])
    picture, label = images(batch_size, 3, 224, 224), classes(1000, batch_size)

    def loss() -> torch.Tensor:
        tokens = patches(picture).flatten(2).transpose(1, 2)
        return functional.cross_entropy(head(blocks(tokens).mean(dim=1)), label)

    return training(nn.ModuleList([patches, blocks, head]), loss, half=torch.float16)


def graphs(batch_size: int) -> Step:
    """Messages along the edges of graphs of different sizes."""
    nodes = sum(longest(1 + number, 200, 1200) for number in range(batch_size))
    with on_card():
        layers = nn.ModuleList([nn.Linear(512, 256) for _ in range(4)])
    features, edges = images(nodes, 256), classes(nodes, 2, 16 * nodes)

    def loss() -> torch.Tensor:
        x = features
        for layer in layers:
            message = layer(torch.cat([x[edges[0]], x[edges[1]]], dim=1)).relu()
            x = x + torch.zeros_like(x).index_add(0, edges[1], message)
        return x.square().mean()

    return training(layers, loss)


def clicks(batch_size: int) -> Step:
    """Large tables, whose gradients are dense and whose optimizer keeps two more of them."""
    with on_card():
        tables = nn.ModuleList([nn.EmbeddingBag(500_000, 64) for _ in range(8)])
        tower = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1))
    rows = 2048 * batch_size
    seen, clicked = classes(500_000, 8, rows, 5), images(rows, 1)

    def loss() -> torch.Tensor:
        vectors = torch.cat([table(part) for table, part in zip(tables, seen)], dim=1)
        return functional.binary_cross_entropy_with_logits(tower(vectors), clicked)

    return training(nn.ModuleList([tables, tower]), loss)


MODELS = (lstm, gru, encoder, translation, gpt, checkpointed, low_rank, vision_transformer, graphs, clicks)
