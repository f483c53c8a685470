"""Recurrent layers: cuDNN's, without cuDNN, under autocast, packed, with projections, and cells in a loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .training import Step, tokens, training

WORDS = 8000


class _Language(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], width: int, **options: object) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        self.layers = kind(width, width, batch_first=True, **options)
        directions = 2 if self.layers.bidirectional else 1
        self.head = nn.Linear(directions * (self.layers.proj_size or width), WORDS)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.words(words))[0])


def _next_word(model: nn.Module) -> torch.Tensor:
    words = tokens(16, 64, WORDS)
    return functional.cross_entropy(model(words).flatten(0, 1), words.flatten())


def _without_cudnn(step: Step) -> Step:
    def run() -> None:
        with torch.backends.cudnn.flags(enabled=False):
            step()
    return run


def lstm_bfloat16() -> Step:
    return training(_Language(nn.LSTM, 512, num_layers=2, dropout=0.2), _next_word, precision=torch.bfloat16)


def gru_bidirectional_float16() -> Step:
    model = _Language(nn.GRU, 384, num_layers=2, bidirectional=True)
    return training(model, _next_word, precision=torch.float16, clip=1.0)


def lstm_with_projection() -> Step:
    return training(_Language(nn.LSTM, 512, num_layers=2, proj_size=128), _next_word)


def plain_recurrence_without_cudnn() -> Step:
    return _without_cudnn(training(_Language(nn.RNN, 512), _next_word))


def lstm_without_cudnn_bfloat16() -> Step:
    model = _Language(nn.LSTM, 384, num_layers=2, dropout=0.1)
    return _without_cudnn(training(model, _next_word, precision=torch.bfloat16))


def gru_bidirectional_without_cudnn() -> Step:
    return _without_cudnn(training(_Language(nn.GRU, 256, num_layers=2, bidirectional=True), _next_word))


class _Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(WORDS, 300), nn.LSTM(300, 256, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(512, 40)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.words(words), lengths, batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0])


def tagger_of_packed_sequences() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        lengths = torch.arange(80, 80 - 2 * 32, -2)
        scores = model(tokens(32, 80, WORDS), lengths)
        return functional.cross_entropy(scores.flatten(0, 1), tokens(32, 80, 40).flatten(), ignore_index=0)
    return training(_Tagger(), loss_of)


class _Translator(nn.Module):
    """Decoder of LSTM cells that attends to an encoder at every word."""

    def __init__(self, cell: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.words, self.encoder = nn.Embedding(WORDS, 256), nn.GRU(256, 256)
        self.cell, self.head = cell(512, 256), nn.Linear(256, WORDS)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory, hidden = self.encoder(self.words(source))
        state = hidden[0], torch.zeros_like(hidden[0])
        scores = []
        for word in self.words(target):
            weights = torch.softmax(torch.einsum("bh,sbh->bs", state[0], memory), -1)
            context = torch.einsum("bs,sbh->bh", weights, memory)
            new = self.cell(torch.cat((word, context), -1), state if isinstance(self.cell, nn.LSTMCell) else state[0])
            state = new if isinstance(new, tuple) else (new, state[1])
            scores.append(self.head(state[0]))
        return torch.stack(scores)


def _translation(model: nn.Module) -> torch.Tensor:
    target = tokens(20, 24, WORDS)
    return functional.cross_entropy(model(tokens(30, 24, WORDS), target).flatten(0, 1), target.flatten())


def translator_of_cells_bfloat16() -> Step:
    return training(_Translator(nn.LSTMCell), _translation, precision=torch.bfloat16)


def translator_of_gated_cells() -> Step:
    return training(_Translator(nn.GRUCell), _translation, clip=5.0)


PROGRAMS = (
    lstm_bfloat16, gru_bidirectional_float16, lstm_with_projection, plain_recurrence_without_cudnn,
    lstm_without_cudnn_bfloat16, gru_bidirectional_without_cudnn, tagger_of_packed_sequences,
    translator_of_cells_bfloat16, translator_of_gated_cells,
)
