"""Transformers: PyTorch's own layers, relative positions, windows, experts, grouped heads, adapters, checkpointing."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from .training import Step, images, tokens, training

WORDS = 16000


class _Translator(nn.Module):
    """`nn.Transformer` with a causal mask and padded sources."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, 512), nn.Linear(512, WORDS)
        self.layers = nn.Transformer(512, 8, 3, 3, 2048, batch_first=True)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device="cuda")
        padding = source == 0
        out = self.layers(
            self.words(source), self.words(target), tgt_mask=causal, tgt_is_causal=True, src_key_padding_mask=padding,
            memory_key_padding_mask=padding)
        return self.head(out)


def _translation(model: nn.Module) -> torch.Tensor:
    target = tokens(8, 96, WORDS)
    return functional.cross_entropy(model(tokens(8, 128, WORDS), target).flatten(0, 1), target.flatten())


def translator_bfloat16() -> Step:
    return training(_Translator(), _translation, precision=torch.bfloat16)


def translator_float32_ampere() -> Step:
    return training(_Translator(), _translation, clip=1.0)


class _Weights(nn.Module):
    """Attention that returns its weights, and a loss on them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.MultiheadAttention(384, 6, dropout=0.1, batch_first=True) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spread = x.new_zeros(())
        for layer in self.layers:
            change, weights = layer(x, x, x, need_weights=True, average_attn_weights=False)
            x, spread = x + change, spread - (weights * (weights + 1e-9).log()).sum(-1).mean()
        return x.pow(2).mean() + 0.01 * spread


def attention_weights_in_the_loss() -> Step:
    return training(_Weights(), lambda model: model(torch.randn(8, 128, 384, device="cuda")))


class _RelativeAttention(nn.Module):
    """Scores with a learnt bias by bucket of distance, in plain operators, after a norm without mean."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, nn.Parameter(torch.ones(width))
        self.inner, self.outer = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.bias = nn.Embedding(32, heads)
        self.gate, self.up, self.down = (nn.Linear(*size, bias=False) for size in (
            (width, 2 * width), (width, 2 * width), (2 * width, width)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        place = torch.arange(length, device=x.device)
        bias = self.bias((place[None] - place[:, None]).abs().clamp(max=31)).permute(2, 0, 1)[None]
        parts = self.inner(self._norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = functional.softmax((parts[0] @ parts[1].transpose(-1, -2) + bias).float(), dim=-1).type_as(x)
        mixed = functional.dropout(scores, 0.1, self.training) @ parts[2]
        x = x + self.outer(mixed.transpose(1, 2).reshape(batch, length, width))
        normed = self._norm(x)
        return x + self.down(functional.gelu(self.gate(normed), approximate="tanh") * self.up(normed))

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class _Stack(nn.Module):
    def __init__(self, *blocks: nn.Module, width: int, words: int = WORDS) -> None:
        super().__init__()
        self.words, self.blocks, self.head = nn.Embedding(words, width), nn.ModuleList(blocks), nn.Linear(width, words)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def _same_words(model: nn.Module) -> torch.Tensor:
    words = tokens(4, 256, WORDS)
    return functional.cross_entropy(model(words).flatten(0, 1).float(), words.flatten(), label_smoothing=0.1)


def relative_positions_bfloat16() -> Step:
    model = _Stack(*(_RelativeAttention(512, 8) for _ in range(3)), width=512)
    return training(model, _same_words, precision=torch.bfloat16)


def relative_positions_adafactor() -> Step:
    model = _Stack(*(_RelativeAttention(512, 8) for _ in range(3)), width=512)
    return training(model, _same_words, optimizer=torch.optim.Adafactor)


class _GroupedBlock(nn.Module):
    """Rotary positions, fewer keys than queries, gated feed-forward, `nn.RMSNorm`; the weights in bfloat16."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.query, self.outer = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.key, self.value = (nn.Linear(width, groups * self.size, bias=False) for _ in range(2))
        self.first_norm, self.second_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.gate, self.up, self.down = (nn.Linear(*size, bias=False) for size in (
            (width, 3 * width), (width, 3 * width), (3 * width, width)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.first_norm(x)
        query, key = (self._rotated(part) for part in (
            self._split(self.query(normed), self.heads), self._split(self.key(normed), self.groups)))
        value = self._split(self.value(normed), self.groups)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        x = x + self.outer(mixed.transpose(1, 2).flatten(2))
        normed = self.second_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))

    def _split(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        return x.view(*x.shape[:2], heads, self.size).transpose(1, 2)

    def _rotated(self, x: torch.Tensor) -> torch.Tensor:
        angles = torch.outer(torch.arange(x.shape[2], device=x.device), torch.rand(self.size // 2, device=x.device))
        cosine, sine = (wave.repeat(1, 2).to(x.dtype) for wave in (angles.cos(), angles.sin()))
        first, second = x.chunk(2, -1)
        return x * cosine + torch.cat((-second, first), -1) * sine


def _grouped() -> nn.Module:
    return _Stack(*(_GroupedBlock(768, 12, 4) for _ in range(4)), width=768).to(torch.bfloat16)


def grouped_heads_hopper() -> Step:
    return training(_grouped(), _same_words, clip=1.0)


def grouped_heads_ampere() -> Step:
    return training(_grouped(), _same_words, accumulation=2)


class _Adapter(nn.Module):
    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base, self.dropout = base, nn.Dropout(0.05)
        self.down, self.up = (nn.Linear(*size, bias=False) for size in (
            (base.in_features, rank), (rank, base.out_features)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + 2 * self.up(self.down(self.dropout(x).float())).to(x.dtype)


def adapters_on_a_frozen_model() -> Step:
    model = _grouped().requires_grad_(False)
    for block in model.blocks:
        block.query, block.value = _Adapter(block.query, 8), _Adapter(block.value, 8)
        block.forward = _checkpointed(block.forward)
    model.words.register_forward_hook(lambda layer, given, out: out.requires_grad_())
    return training(model, _same_words)


def _checkpointed(forward):
    return lambda x: checkpoint(forward, x, use_reentrant=False)


class _Encoder(nn.Module):
    def __init__(self, is_reentrant: bool) -> None:
        super().__init__()
        self.is_reentrant = is_reentrant
        self.blocks = nn.Sequential(*(
            nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True, norm_first=True, activation="gelu")
            for _ in range(6)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_reentrant:
            return checkpoint_sequential(self.blocks, 3, x, use_reentrant=True)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return x


def _squares(model: nn.Module) -> torch.Tensor:
    x = torch.randn(8, 196, 512, device="cuda", requires_grad=True)
    return model(x).float().pow(2).mean()


def segments_checkpointed_bfloat16() -> Step:
    return training(_Encoder(is_reentrant=True), _squares, precision=torch.bfloat16)


def blocks_checkpointed_float16() -> Step:
    return training(_Encoder(is_reentrant=False), _squares, precision=torch.float16, accumulation=2, clip=1.0)


def encoder_evaluated_by_the_fast_path() -> Step:
    layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).cuda().eval()

    def step() -> None:
        with torch.no_grad():
            model(torch.randn(16, 200, 512, device="cuda"))
    return step


def encoder_evaluated_with_padding() -> Step:
    layers = nn.ModuleList(
        nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True, norm_first=True, activation="gelu")
        for _ in range(4)).cuda().eval()

    def step() -> None:
        x, padding = torch.randn(16, 200, 512, device="cuda"), torch.zeros(16, 200, dtype=torch.bool, device="cuda")
        with torch.inference_mode():
            for layer in layers:
                x = layer(x, src_key_padding_mask=padding)
    return step


class _Window(nn.Module):
    """Attention in shifted windows with a table of relative positions."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.inner, self.outer, self.norm = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width)
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("places", torch.randint(0, (2 * window - 1) ** 2, (window ** 2, window ** 2)))
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, breadth, width = x.shape
        size, parts = self.window, height // self.window
        rolled = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2)) if self.shift else self.norm(x)
        windows = rolled.view(batch, parts, size, parts, size, width).permute(0, 1, 3, 2, 4, 5)
        windows = windows.reshape(-1, size ** 2, width)
        split = self.inner(windows).view(len(windows), size ** 2, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.table[self.places.view(-1)].view(size ** 2, size ** 2, -1).permute(2, 0, 1).contiguous()
        scores = (split[0] * width ** -0.5) @ split[1].transpose(-2, -1) + bias[None]
        mixed = (scores.softmax(-1) @ split[2]).transpose(1, 2).reshape(windows.shape)
        merged = self.outer(mixed).view(batch, parts, parts, size, size, width).permute(0, 1, 3, 2, 4, 5)
        merged = merged.reshape(batch, height, breadth, width)
        x = x + (torch.roll(merged, (self.shift, self.shift), (1, 2)) if self.shift else merged)
        return x + self.feed(x)


class _Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 96, 4, 4)
        self.blocks = nn.Sequential(_Window(96, 3, 7, 0), _Window(96, 3, 7, 3), _Window(96, 3, 7, 0))
        self.head = nn.Linear(96, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2)))


def _classes(model: nn.Module) -> torch.Tensor:
    return functional.cross_entropy(model(images(8, 224)), torch.randint(0, 100, (8,)).cuda())


def shifted_windows_float16() -> Step:
    return training(_Windows(), _classes, precision=torch.float16)


def shifted_windows_turing() -> Step:
    return training(_Windows(), _classes)


class _Patches(nn.Module):
    """A vision transformer with a class token, learnt positions and dropped paths."""

    def __init__(self, width: int = 384, depth: int = 6) -> None:
        super().__init__()
        self.stem, self.token = nn.Conv2d(3, width, 16, 16), nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 197, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 6, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth))
        self.head = nn.Linear(width, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.places
        for block in self.blocks:
            kept = torch.rand(len(x), 1, 1, device=x.device).add_(0.9).floor_()
            x = x + (block(x) - x) * kept / 0.9
        return self.head(x[:, 0])


def vision_transformer_bfloat16_ampere() -> Step:
    return training(_Patches(), _classes, precision=torch.bfloat16, clip=1.0)


class _Speech(nn.Module):
    """Convolutions over a spectrogram, an encoder, and a decoder that attends to it."""

    def __init__(self, width: int = 384) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(80, width, 3, padding=1), nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, 6, 4 * width, activation="gelu", batch_first=True, norm_first=True), 3,
            enable_nested_tensor=False)
        self.words = nn.Embedding(WORDS, width)
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(width, 6, 4 * width, activation="gelu", batch_first=True, norm_first=True), 3)

    def forward(self, sound: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        x = functional.gelu(self.second(functional.gelu(self.first(sound)))).permute(0, 2, 1)
        causal = nn.Transformer.generate_square_subsequent_mask(words.shape[1], device="cuda")
        out = self.decoder(self.words(words), self.encoder(x), tgt_mask=causal, tgt_is_causal=True)
        return out @ self.words.weight.t().to(out.dtype)


def speech_recognition_float16() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        words = tokens(4, 64, WORDS)
        return functional.cross_entropy(model(torch.randn(4, 80, 1000).cuda(), words).transpose(1, 2), words)
    return training(_Speech(), loss_of, precision=torch.float16, clip=1.0)


class _Experts(nn.Module):
    """Two of eight experts for each token, each with a fixed number of places."""

    def __init__(self, width: int = 512, count: int = 8, places: int = 160) -> None:
        super().__init__()
        self.count, self.places, self.router = count, places, nn.Linear(width, count, bias=False)
        self.up, self.down = (nn.Parameter(torch.randn(count, *size) * 0.02) for size in (
            (width, 2 * width), (2 * width, width)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(0, 1)
        weights, chosen = torch.topk(self.router(flat).float().softmax(-1), 2)
        wanted = functional.one_hot(chosen, self.count).sum(1)
        order = (wanted * torch.arange(len(flat), 0, -1, device=x.device)[:, None]).t().topk(self.places).indices
        gathered = flat[order.flatten()].view(self.count, self.places, -1)
        done = torch.bmm(functional.silu(torch.bmm(gathered, self.up.to(x.dtype))), self.down.to(x.dtype))
        share = (wanted * weights.sum(-1, keepdim=True)).t().gather(1, order)[..., None].to(x.dtype)
        mixed = torch.zeros_like(flat).index_add(0, order.flatten(), (done * share).flatten(0, 1))
        return x + mixed.view_as(x)


def experts_bfloat16() -> Step:
    model = _Stack(*(_Experts() for _ in range(3)), width=512).to(torch.bfloat16)
    return training(model, _same_words)


PROGRAMS = (
    translator_bfloat16, translator_float32_ampere, attention_weights_in_the_loss, relative_positions_bfloat16,
    relative_positions_adafactor, grouped_heads_hopper, grouped_heads_ampere, adapters_on_a_frozen_model,
    segments_checkpointed_bfloat16, blocks_checkpointed_float16, encoder_evaluated_by_the_fast_path,
    encoder_evaluated_with_padding,
    shifted_windows_float16, shifted_windows_turing, vision_transformer_bfloat16_ampere, speech_recognition_float16,
    experts_bfloat16,
)
