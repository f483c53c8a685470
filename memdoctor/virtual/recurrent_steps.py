"""Recurrent layers step by step, as PyTorch runs them on a card without cuDNN: a fused kernel per step.

Composite operators, to be called above autograd. On a card the gates of the input are not computed for all steps at
once, as they are on the host (`FullLayer` of aten/src/ATen/native/RNN.cpp).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import torch

aten = torch.ops.aten

Params = Sequence[torch.Tensor]
"""Of one layer and direction: input and hidden weights; biases and a projection where there are any."""
State = tuple[torch.Tensor, ...]
"""Of one layer and direction: hidden state, and the cell of an LSTM."""
Cell = Callable[[torch.Tensor, State, Params, bool], State]


def run_layers(
    cell: Cell, data: torch.Tensor, state: Sequence[torch.Tensor], params: Sequence[torch.Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
    batch_sizes: Sequence[int] = (),
) -> tuple[torch.Tensor, ...]:
    """Outputs of the last layer, then the stacked last states; arguments as those of `aten::lstm.input`.

    With `batch_sizes`, those of `aten::lstm.data`: sequences of different lengths in one piece, and how many of them
    are left at each step.
    """
    walk = functools.partial(_run_packed_steps, batch_sizes) if batch_sizes else _run_steps
    data = data.transpose(0, 1) if batch_first else data
    directions = 2 if bidirectional else 1
    states = list(zip(*(part.unbind(0) for part in state)))
    count = len(params) // (num_layers * directions)
    last: list[State] = []
    for layer in range(num_layers):
        outputs = []
        for way in range(directions):
            number = layer * directions + way
            own = params[number * count: (number + 1) * count]
            out, end = walk(cell, data, states[number], own, has_biases, is_reversed=way == 1)
            outputs.append(out)
            last.append(end)
        data = torch.cat(outputs, -1) if bidirectional else outputs[0]
        if dropout and train and layer < num_layers - 1:
            data = torch.dropout(data, dropout, True)
        del out, outputs
    return data.transpose(0, 1) if batch_first else data, *(torch.stack(parts, 0) for parts in zip(*last))


def _run_steps(
    cell: Cell, data: torch.Tensor, state: State, params: Params, has_biases: bool, is_reversed: bool
) -> tuple[torch.Tensor, State]:
    steps = data.unbind(0)
    outputs = []
    for step in reversed(steps) if is_reversed else steps:
        state = cell(step, state, params, has_biases)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if is_reversed else outputs, 0), state


def _run_packed_steps(
    batch_sizes: Sequence[int], cell: Cell, data: torch.Tensor, state: State, params: Params, has_biases: bool,
    is_reversed: bool,
) -> tuple[torch.Tensor, State]:
    """Longest sequences first: forward, states drop out as sequences end; backward, they join as those begin.

    As `PackedLayer` and `ReversedPackedLayer` of aten/src/ATen/native/RNN.cpp.
    """
    starts = list(itertools.accumulate(batch_sizes, initial=0))
    places = list(zip(starts, batch_sizes))
    whole, outputs, ended = state, [], []
    state = _rows(whole, 0, batch_sizes[-1]) if is_reversed else whole
    last = batch_sizes[-1] if is_reversed else batch_sizes[0]
    for start, size in reversed(places) if is_reversed else places:
        step = data.narrow(0, start, size)
        if size < last:
            ended.append(_rows(state, size, last))
            state = _rows(state, 0, size)
        elif size > last:
            state = _together([state, _rows(whole, last, size)])
        last = size
        state = cell(step, state, params, has_biases)
        outputs.append(state[0])
    out = torch.cat(outputs[::-1] if is_reversed else outputs, 0)
    return out, state if is_reversed else _together([state, *reversed(ended)])


def _rows(state: State, start: int, end: int) -> State:
    return tuple(part.narrow(0, start, end - start) for part in state)


def _together(states: Sequence[State]) -> State:
    return tuple(torch.cat(parts, 0) for parts in zip(*states))


def _lstm(data: torch.Tensor, state: State, params: Params, has_biases: bool) -> State:
    gates = torch.matmul(data, params[0].t()), torch.matmul(state[0], params[1].t())
    biases = params[2:4] if has_biases else (None, None)
    hidden, cell = aten._thnn_fused_lstm_cell(*gates, state[1], *biases)[:2]
    projection = params[4 if has_biases else 2:]
    return torch.matmul(hidden, projection[0].t()) if projection else hidden, cell


def _gru(data: torch.Tensor, state: State, params: Params, has_biases: bool) -> State:
    return (gru_step(data, state[0], *params[:4 if has_biases else 2]),)


def gru_step(
    data: torch.Tensor, hidden: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None,
) -> torch.Tensor:
    """As `aten::gru_cell`."""
    gates = torch.matmul(data, w_ih.t()), torch.matmul(hidden, w_hh.t())
    out: torch.Tensor = aten._thnn_fused_gru_cell(*gates, hidden, b_ih, b_hh)[0]
    return out


def _plain(activation: Callable[[torch.Tensor], torch.Tensor]) -> Cell:
    def step(data: torch.Tensor, state: State, params: Params, has_biases: bool) -> State:
        b_ih, b_hh = params[2:4] if has_biases else (None, None)
        hidden = torch.nn.functional.linear(state[0], params[1], b_hh)
        return (activation(hidden.add_(torch.nn.functional.linear(data, params[0], b_ih))),)
    return step


CELLS: dict[str, Cell] = {
    "gru": _gru, "lstm": _lstm, "rnn_relu": _plain(torch.relu), "rnn_tanh": _plain(torch.tanh),
}
