"""Sequences over time: recurrent layers in other precisions and packings, speech, series, state spaces."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .training import Step, tokens, training, without_cudnn

WORDS = 6000


class _Packed(nn.Module):
    """A classifier of packed sentences."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(WORDS, layer.input_size, padding_idx=0), layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), 20)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.words(words), lengths, batch_first=True)
        out, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        return self.head(out.amax(1))


def _sentences(model: nn.Module) -> torch.Tensor:
    scores = model(tokens(24, 60, WORDS), torch.arange(60, 12, -2))
    return functional.cross_entropy(scores, torch.randint(0, 20, (24,)).cuda())


def packed_gru_float16() -> Step:
    layer = nn.GRU(256, 320, 3, batch_first=True, bidirectional=True, dropout=0.3)
    return training(_Packed(layer), _sentences, precision=torch.float16, clip=1.0)


def packed_lstm_without_cudnn_bfloat16() -> Step:
    layer = nn.LSTM(256, 256, 2, batch_first=True, bidirectional=True)
    return without_cudnn(training(_Packed(layer), _sentences, precision=torch.bfloat16))


def packed_gru_without_cudnn() -> Step:
    return without_cudnn(training(_Packed(nn.GRU(256, 256, 2, batch_first=True, dropout=0.2)), _sentences))


class _Language(nn.Module):
    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(WORDS, layer.input_size), layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), WORDS)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.words(words))[0])


def _next_word(model: nn.Module) -> torch.Tensor:
    words = tokens(48, 20, WORDS)
    return functional.cross_entropy(model(words).flatten(0, 1), words.flatten())


def rectified_recurrence_bfloat16() -> Step:
    layer = nn.RNN(256, 384, 2, nonlinearity="relu", bidirectional=True, dropout=0.1)
    return training(_Language(layer), _next_word, precision=torch.bfloat16)


def lstm_of_bfloat16_weights() -> Step:
    return training(_Language(nn.LSTM(256, 320, 2)).to(torch.bfloat16), _next_word)


def lstm_of_half_weights_turing() -> Step:
    return training(_Language(nn.LSTM(256, 320, 2, bidirectional=True)).half(), _next_word, optimizer=_plain)


def gru_without_biases_float16_without_cudnn() -> Step:
    layer = nn.GRU(256, 256, 2, bias=False, dropout=0.2)
    return without_cudnn(training(_Language(layer), _next_word, precision=torch.float16))


def lstm_with_projection_without_cudnn() -> Step:
    layer = nn.LSTM(256, 384, 2, proj_size=256, bidirectional=True)
    model = _Language(layer)
    model.head = nn.Linear(512, WORDS)
    return without_cudnn(training(model, _next_word))


def _plain(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.01)


class _Spelled(nn.Module):
    """Words from their letters by convolutions and a highway, then an LSTM that keeps its state between steps."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(100, 16)
        self.filters = nn.ModuleList(nn.Conv1d(16, 64, width) for width in (1, 2, 3, 4))
        self.gate, self.change = nn.Linear(256, 256), nn.Linear(256, 256)
        self.layer, self.head = nn.LSTM(256, 300, 2, dropout=0.5), nn.Linear(300, WORDS)
        self.state: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        steps, batch, length = letters.shape
        x = self.letters(letters.view(-1, length)).transpose(1, 2)
        x = torch.cat([functional.max_pool1d(f(x).tanh(), f(x).shape[-1]).squeeze(-1) for f in self.filters], 1)
        gate = self.gate(x).sigmoid()
        x = gate * self.change(x).relu() + (1 - gate) * x
        out, state = self.layer(x.view(steps, batch, -1), self.state)
        self.state = tuple(part.detach() for part in state)
        return self.head(out)


def letters_of_words() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(torch.randint(0, 100, (20, 16, 12), device="cuda"))
        return functional.cross_entropy(out.flatten(0, 1), tokens(20, 16, WORDS).flatten())
    return training(_Spelled(), loss_of, clip=5.0, optimizer=_plain)


class _Tags(nn.Module):
    """A conditional random field above a bidirectional GRU."""

    def __init__(self, tags: int = 24) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(WORDS, 200), nn.GRU(200, 200, bidirectional=True)
        self.head, self.moves = nn.Linear(400, tags), nn.Parameter(torch.randn(tags, tags))

    def forward(self, words: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        scores = self.head(self.layer(self.words(words))[0])
        whole = scores[0]
        for score in scores[1:]:
            whole = torch.logsumexp(whole[:, :, None] + self.moves + score[:, None], 1)
        own = scores.gather(2, tags[..., None]).sum() + self.moves[tags[:-1], tags[1:]].sum()
        return (torch.logsumexp(whole, -1).sum() - own) / words.shape[1]


def conditional_random_field() -> Step:
    return training(_Tags(), lambda model: model(tokens(30, 32, WORDS), tokens(30, 32, 24)))


class _Spoken(nn.Module):
    """Two strided convolutions over a spectrogram and an encoder, for CTC."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU())
        self.into = nn.Linear(32 * 20, width)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, 4, 4 * width), 3, enable_nested_tensor=False)
        self.head = nn.Linear(width, 80)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        x = self.stem(sound[:, None]).permute(3, 0, 1, 2).flatten(2)
        return self.head(self.layers(self.into(x)))


def speech_with_lengths_on_the_card_bfloat16() -> Step:
    lengths = [torch.full((8,), value) for value in (100, 20)]

    def loss_of(model: nn.Module) -> torch.Tensor:
        scores = model(torch.randn(8, 80, 400, device="cuda")).float().log_softmax(-1)
        return functional.ctc_loss(
            scores, torch.randint(1, 80, (8, 20), device="cuda"), *(part.cuda() for part in lengths),
            zero_infinity=True)
    return training(_Spoken(), loss_of, precision=torch.bfloat16)


class _Waves(nn.Module):
    """Raw sound by convolutions, positions by a weight-normalised grouped one, codes by a Gumbel softmax."""

    def __init__(self, width: int = 384) -> None:
        super().__init__()
        sizes = ((1, 128, 10, 5), (128, 128, 3, 2), (128, 128, 3, 2), (128, 128, 2, 2))
        self.stem = nn.ModuleList(nn.Conv1d(*size, bias=False) for size in sizes)
        self.first_norm, self.norm, self.into = nn.GroupNorm(128, 128), nn.LayerNorm(128), nn.Linear(128, width)
        self.places = nn.utils.parametrizations.weight_norm(
            nn.Conv1d(width, width, 32, padding=16, groups=16), name="weight", dim=2)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 6, 4 * width, batch_first=True) for _ in range(3))
        self.codes, self.book = nn.Linear(128, 2 * 160), nn.Parameter(torch.randn(1, 320, 64))
        self.unknown = nn.Parameter(torch.rand(width))
        self.out, self.target = nn.Linear(width, 128), nn.Linear(128, 128)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        x = sound[:, None]
        for number, layer in enumerate(self.stem):
            x = layer(x)
            x = functional.gelu(self.first_norm(x) if number == 0 else x)
        features = self.norm(x.transpose(1, 2))
        x = self.into(features)
        hidden = torch.rand(x.shape[:2], device=x.device) < 0.3
        x = torch.where(hidden[..., None], self.unknown.to(x.dtype), x)
        x = x + functional.gelu(self.places(x.transpose(1, 2))[..., :-1]).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        logits = self.codes(features).view(-1, 160)
        hard = functional.gumbel_softmax(logits.float(), tau=2, hard=True).type_as(logits)
        chosen = (hard.view(len(x) * x.shape[1], -1)[..., None] * self.book).view(-1, 2, 160, 64).sum(2)
        target = self.target(chosen.flatten(1)).view(*x.shape[:2], -1)
        scores = functional.cosine_similarity(self.out(x)[:, :, None], torch.stack((target, target.roll(1, 1)), 2), -1)
        return functional.cross_entropy(scores.flatten(0, 1) / 0.1, torch.zeros(scores[..., 0].numel()).long().cuda())


def raw_sound() -> Step:
    return training(_Waves(), lambda model: model(torch.randn(4, 8000, device="cuda")))


def raw_sound_float16() -> Step:
    return training(_Waves(), lambda model: model(torch.randn(4, 8000, device="cuda")), precision=torch.float16)


class _Series(nn.Module):
    """Patches of a series by `unfold`, normalised by its own mean and deviation, through an encoder."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.into, self.places = nn.Linear(16, width), nn.Parameter(torch.zeros(1, 41, width))
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(
            width, 8, 256, 0.2, functional.gelu, batch_first=True), 3)
        self.head = nn.Sequential(nn.Flatten(-2), nn.Dropout(0.1), nn.Linear(41 * width, 96))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, deviation = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False).add(1e-5).sqrt()
        parts = functional.pad((x - mean) / deviation, (0, 8), "replicate").unfold(-1, 16, 8)
        out = self.layers((self.into(parts) + self.places).flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.head(out) * deviation + mean


def patches_of_series() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        series = torch.randn(32, 7, 424).cuda()
        return functional.mse_loss(model(series[..., :328]), series[..., 328:])
    return training(_Series(), loss_of)


PROGRAMS = (
    packed_gru_float16, packed_lstm_without_cudnn_bfloat16, packed_gru_without_cudnn, rectified_recurrence_bfloat16,
    lstm_of_bfloat16_weights, lstm_of_half_weights_turing, gru_without_biases_float16_without_cudnn,
    lstm_with_projection_without_cudnn, letters_of_words, conditional_random_field,
    speech_with_lengths_on_the_card_bfloat16, raw_sound, raw_sound_float16, patches_of_series,
)
