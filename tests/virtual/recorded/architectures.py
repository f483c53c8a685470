"""Transformers again: encoder and decoder, linear attention, groups of experts, generation, preferences, two senses."""

from __future__ import annotations

import functools
import math

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from .training import Step, images, tokens, training

WORDS = 12000


class _Attention(nn.Module):
    """Queries from one sequence, keys and values from the same or another one, and an additive or boolean mask."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.outer = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, x: torch.Tensor, memory: torch.Tensor | None = None, mask: torch.Tensor | None = None,
        is_causal: bool = False,
    ) -> torch.Tensor:
        other = x if memory is None else memory
        query, key, value = (
            part(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, of in ((self.query, x), (self.key, other), (self.value, other)))
        out = functional.scaled_dot_product_attention(
            query, key, value, mask, self.dropout if self.training else 0.0, is_causal)
        return self.outer(out.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, has_memory: bool = False, dropout: float = 0.1) -> None:
        super().__init__()
        self.own, self.cross = _Attention(width, heads, dropout), _Attention(width, heads) if has_memory else None
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if has_memory else 2))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, memory: torch.Tensor | None = None,
                memory_mask: torch.Tensor | None = None) -> torch.Tensor:
        x = self.norms[0](x + self.drop(self.own(x, None, mask, is_causal=memory is not None)))
        if self.cross is not None:
            x = self.norms[2](x + self.drop(self.cross(x, memory, memory_mask)))
        return self.norms[1](x + self.drop(self.down(functional.gelu(self.up(x)))))


class _Summaries(nn.Module):
    """Encoder and decoder with one table of words for both and for the result."""

    def __init__(self, width: int = 384, depth: int = 3) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, width, padding_idx=1), nn.Embedding(512, width)
        self.encoder = nn.ModuleList(_Layer(width, 6) for _ in range(depth))
        self.decoder = nn.ModuleList(_Layer(width, 6, has_memory=True) for _ in range(depth))
        self.register_buffer("bias", torch.zeros(1, WORDS))

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        kept = (source != 1)[:, None, None]
        x, y = (self.words(part) + self.places(torch.arange(part.shape[1], device=part.device)) for part in (
            source, target))
        for layer in self.encoder:
            x = layer(x, kept.expand(-1, 1, x.shape[1], -1))
        for layer in self.decoder:
            y = layer(y, None, x, kept.expand(-1, 1, y.shape[1], -1))
        return functional.linear(y, self.words.weight) + self.bias


def _summary(model: nn.Module) -> torch.Tensor:
    target = tokens(6, 64, WORDS)
    scores = model(tokens(6, 160, WORDS), target)
    return functional.cross_entropy(scores.view(-1, WORDS), target.view(-1), label_smoothing=0.1, ignore_index=1)


def summaries() -> Step:
    return training(_Summaries(), _summary, clip=0.1)


def summaries_float16_turing() -> Step:
    return training(_Summaries(), _summary, precision=torch.float16)


def summaries_bfloat16_ampere() -> Step:
    return training(_Summaries(), _summary, precision=torch.bfloat16)


class _Linear(nn.Module):
    """Attention without a softmax, in chunks with a running state."""

    def __init__(self, width: int, heads: int, chunk: int = 64) -> None:
        super().__init__()
        self.heads, self.chunk = heads, chunk
        self.inner, self.outer = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate, self.norm, self.within = nn.Linear(width, width), nn.LayerNorm(width), nn.GroupNorm(heads, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.inner(self.norm(x)).view(batch, length // self.chunk, self.chunk, 3, self.heads, -1)
        query, key, value = parts.permute(3, 0, 4, 1, 2, 5)
        query, key = functional.elu(query) + 1, functional.elu(key) + 1
        states = torch.cumsum(torch.einsum("bhncd,bhnce->bhnde", key, value), 2)
        states = functional.pad(states[:, :, :-1], (0, 0, 0, 0, 1, 0))
        near = torch.tril(torch.einsum("bhncd,bhnmd->bhncm", query, key))
        out = torch.einsum("bhncm,bhnme->bhnce", near, value) + torch.einsum("bhncd,bhnde->bhnce", query, states)
        out = out.permute(0, 2, 3, 1, 4).reshape(batch * length, width)
        out = self.within(out).view(batch, length, width)
        return x + self.outer(functional.silu(self.gate(x)) * out)


class _Stack(nn.Module):
    def __init__(self, *blocks: nn.Module, width: int) -> None:
        super().__init__()
        self.words, self.blocks, self.norm = nn.Embedding(WORDS, width), nn.ModuleList(blocks), nn.LayerNorm(width)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words)
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.words.weight)


def _next_word(model: nn.Module) -> torch.Tensor:
    words = tokens(4, 256, WORDS)
    return functional.cross_entropy(model(words)[:, :-1].flatten(0, 1).float(), words[:, 1:].flatten())


def linear_attention() -> Step:
    return training(_Stack(*(_Linear(384, 6) for _ in range(4)), width=384), _next_word)


def linear_attention_bfloat16() -> Step:
    return training(_Stack(*(_Linear(384, 6) for _ in range(4)), width=384), _next_word, precision=torch.bfloat16)


class _Biased(nn.Module):
    """A slope by distance for each head, as a mask of numbers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own, self.norm, self.feed = _Attention(width, heads), nn.LayerNorm(width), nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.register_buffer("slopes", 2.0 ** -torch.arange(1, heads + 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        bias = (places[None] - places[:, None]).float() * self.slopes[:, None, None]
        mask = bias.masked_fill(places[None] > places[:, None], -math.inf).to(x.dtype)
        x = x + self.own(self.norm(x), None, mask.expand(len(x), -1, -1, -1))
        return x + self.feed(x)


def slopes_of_distance_bfloat16() -> Step:
    return training(_Stack(*(_Biased(384, 6) for _ in range(3)), width=384).to(torch.bfloat16), _next_word)


def slopes_of_distance_ampere() -> Step:
    return training(_Stack(*(_Biased(384, 6) for _ in range(3)), width=384).to(torch.bfloat16), _next_word)


class _Grouped(nn.Module):
    """Experts over tokens that are sorted by expert, by products of groups."""

    def __init__(self, width: int, count: int = 8) -> None:
        super().__init__()
        self.count, self.router = count, nn.Linear(width, count, bias=False)
        self.up, self.gate, self.down = (nn.Parameter(torch.randn(count, *size) * 0.02) for size in (
            (width, 2 * width), (width, 2 * width), (2 * width, width)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.router(flat).float().softmax(-1).topk(2)
        weights = (weights / weights.sum(-1, keepdim=True)).to(x.dtype)
        order = chosen.flatten().argsort()
        ends = torch.cumsum(torch.histc(chosen.float(), self.count, 0, self.count - 1), 0).to(torch.int32)
        gathered = flat[order // 2]
        up = torch._grouped_mm(gathered, self.up, offs=ends)
        gate = torch._grouped_mm(gathered, self.gate, offs=ends)
        out = torch._grouped_mm(functional.silu(gate) * up, self.down, offs=ends)
        mixed = torch.zeros_like(flat).scatter_add(
            0, (order // 2)[:, None].expand_as(out), out * weights.flatten()[order][:, None])
        return x + mixed.view_as(x)


def experts_by_groups() -> Step:
    blocks = (_Biased(384, 6), _Grouped(384), _Biased(384, 6), _Grouped(384))
    return training(_Stack(*blocks, width=384).to(torch.bfloat16), _next_word, clip=1.0)


def _saves_products(context, operator, *args, **kwargs) -> CheckpointPolicy:
    products = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default)
    return CheckpointPolicy.MUST_SAVE if operator in products else CheckpointPolicy.PREFER_RECOMPUTE


class _Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module, is_selective: bool) -> None:
        super().__init__()
        self.inner = inner
        self.options = {"context_fn": functools.partial(
            create_selective_checkpoint_contexts, _saves_products)} if is_selective else {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, x, use_reentrant=False, **self.options)


def selective_checkpoints() -> Step:
    return training(_Stack(*(_Checkpointed(_Layer(384, 6), True) for _ in range(4)), width=384), _next_word)


def nested_checkpoints_bfloat16() -> Step:
    blocks = (_Checkpointed(nn.Sequential(*(_Checkpointed(_Layer(384, 6), False) for _ in range(2))), False)
              for _ in range(3))
    return training(_Stack(*blocks, width=384), _next_word, precision=torch.bfloat16)


def generation_with_growing_keys() -> Step:
    """Words one after another, keys and values appended at each."""
    model = nn.ModuleList(_Layer(512, 8) for _ in range(4)).cuda().half().eval()
    head, table = nn.Linear(512, WORDS).cuda().half(), nn.Embedding(WORDS, 512).cuda().half()

    @torch.no_grad()
    def step() -> None:
        words, kept = tokens(4, 32, WORDS), [None] * len(model)
        x = table(words)
        for _ in range(12):
            for number, layer in enumerate(model):
                parts = [part(x).unflatten(-1, (8, -1)).transpose(1, 2) for part in (
                    layer.own.query, layer.own.key, layer.own.value)]
                if kept[number] is not None:
                    parts[1:] = [torch.cat(pair, 2) for pair in zip(kept[number], parts[1:])]
                kept[number] = parts[1:]
                out = functional.scaled_dot_product_attention(*parts, is_causal=x.shape[1] > 1)
                x = layer.norms[0](x + layer.own.outer(out.transpose(1, 2).flatten(2)))
                x = layer.norms[1](x + layer.down(functional.gelu(layer.up(x))))
            best = head(x[:, -1]).float().topk(50)
            word = best.indices.gather(1, torch.multinomial(best.values.softmax(-1), 1))
            words = torch.cat((words, word), 1)
            x = table(word)
    return step


def generation_with_fixed_keys() -> Step:
    """Keys and values in tensors of their final length, by `index_copy_`."""
    model = nn.ModuleList(_Layer(512, 8) for _ in range(4)).cuda().bfloat16().eval()
    store = torch.zeros(4, 2, 4, 8, 128, 64, dtype=torch.bfloat16, device="cuda")

    @torch.inference_mode()
    def step() -> None:
        x, store_now = torch.randn(4, 64, 512, device="cuda", dtype=torch.bfloat16), store.clone()
        for turn in range(8):
            place = torch.arange(64, device="cuda") if turn == 0 else torch.tensor([63 + turn], device="cuda")
            mask = (torch.arange(128, device="cuda")[None] <= place[:, None])[None, None]
            for number, layer in enumerate(model):
                query, key, value = (part(x).unflatten(-1, (8, -1)).transpose(1, 2) for part in (
                    layer.own.query, layer.own.key, layer.own.value))
                store_now[number, 0].index_copy_(2, place, key)
                store_now[number, 1].index_copy_(2, place, value)
                out = functional.scaled_dot_product_attention(query, *store_now[number], attn_mask=mask)
                x = layer.norms[0](x + layer.own.outer(out.transpose(1, 2).flatten(2)))
                x = layer.norms[1](x + layer.down(functional.gelu(layer.up(x))))
            x = x[:, -1:]
    return step


def preferences_bfloat16() -> Step:
    """The chosen against the rejected answer, beside a frozen copy of the model."""
    reference = _Stack(*(_Biased(320, 5) for _ in range(3)), width=320).to(torch.bfloat16).cuda().requires_grad_(False)

    def likelihood(model: nn.Module, words: torch.Tensor) -> torch.Tensor:
        scores = model(words)[:, :-1].log_softmax(-1)
        return (scores.gather(2, words[:, 1:, None])[..., 0] * (words[:, 1:] != 0)).sum(-1)

    def loss_of(model: nn.Module) -> torch.Tensor:
        words = torch.cat((tokens(4, 128, WORDS), tokens(4, 128, WORDS)))
        with torch.no_grad():
            before = likelihood(reference, words)
        chosen, rejected = (likelihood(model, words) - before).chunk(2)
        return -functional.logsigmoid(0.1 * (chosen - rejected)).mean()
    return training(_Stack(*(_Biased(320, 5) for _ in range(3)), width=320).to(torch.bfloat16), loss_of)


class _Pictured(nn.Module):
    """Images and sentences in one space, the sentence at its last word."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.stem, self.words = nn.Conv2d(3, width, 16, 16, bias=False), nn.Embedding(WORDS, width)
        self.eyes, self.ears = (nn.ModuleList(_Layer(width, 4, dropout=0.0) for _ in range(3)) for _ in range(2))
        self.scale, self.shared = nn.Parameter(torch.tensor(2.66)), nn.Parameter(torch.randn(width, 128) * 0.06)

    def forward(self, pictures: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        x, y = self.stem(pictures).flatten(2).transpose(1, 2), self.words(words)
        mask = torch.full((words.shape[1],) * 2, -math.inf, device=words.device).triu_(1)
        for eye, ear in zip(self.eyes, self.ears):
            x, y = eye(x), ear(y, mask.to(y.dtype))
        last = y[torch.arange(len(y), device=y.device), words.argmax(-1)]
        one, other = (
            part @ self.shared / (part @ self.shared).norm(dim=-1, keepdim=True) for part in (x.mean(1), last))
        scores, own = self.scale.exp() * one @ other.t(), torch.arange(len(x), device=x.device)
        return (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.t(), own)) / 2


def images_and_sentences_float16() -> Step:
    return training(
        _Pictured(), lambda model: model(images(16, 128), tokens(16, 40, WORDS)), precision=torch.float16, clip=1.0)


PROGRAMS = (
    summaries, summaries_float16_turing, summaries_bfloat16_ampere, linear_attention, linear_attention_bfloat16,
    slopes_of_distance_bfloat16, slopes_of_distance_ampere, experts_by_groups, selective_checkpoints,
    nested_checkpoints_bfloat16, generation_with_growing_keys, generation_with_fixed_keys, preferences_bfloat16,
    images_and_sentences_float16,
)
