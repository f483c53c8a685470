"""cuDNN's recurrent layers and the fused cells below autograd."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from memdoctor.virtual.kernels.recurrent import flat_elements, reserve_bytes, workspace_bytes
from memdoctor.virtual.operators.reductions import play_scratch
from memdoctor.virtual.precision import RECURRENT
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


class _Layer(NamedTuple):
    """`(mode, hidden_size, proj_size, num_layers, batch_first, dropout, train, bidirectional, batch_sizes, ...)`.

    Packed data are of two dimensions, and take as much work as if all sequences were as long as the longest.
    """

    mode: int
    hidden: int
    projection: int
    layers: int
    batch_first: bool
    dropout: float
    train: bool
    bidirectional: bool
    batch_sizes: list[int]

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def workspace(self, data: torch.Tensor) -> int:
        steps, batch = self._extent(data)
        return workspace_bytes(self.mode, steps, batch, self.hidden, self.directions, data.element_size())

    def reserve(self, data: torch.Tensor) -> int:
        steps, batch = self._extent(data)
        return reserve_bytes(
            self.mode, steps, batch, self.hidden, self.directions, self.layers, data.element_size())

    def _extent(self, data: torch.Tensor) -> tuple[int, int]:
        if self.batch_sizes:
            return len(self.batch_sizes), self.batch_sizes[0]
        return (data.shape[1], data.shape[0]) if self.batch_first else (data.shape[0], data.shape[1])


def _forward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input, weight, weight_stride0, weight_buf, hx, cx, layer...)`: output, hy, cy, workspace, reserve."""
    recorder.ledger.kinds.add(RECURRENT)
    data, weights, _, buffer, state, cell = args[:6]
    layer = _Layer(*args[6:15])
    if buffer is None:
        buffer = recorder.new((flat_elements([weight.shape for weight in weights]),), data.dtype)
    steps_first = _steps_first(recorder, data, layer)
    width = (layer.projection or layer.hidden) * layer.directions
    out = recorder.new((*steps_first.shape[:-1], width), data.dtype)
    last = recorder.new(state.shape, data.dtype)
    last_cell = recorder.new(cell.shape, data.dtype) if cell is not None else recorder.new((0,), data.dtype)
    with recorder.ledger.scratch([layer.workspace(data)]):
        reserve = recorder.new((layer.reserve(data) if layer.train else 0,), torch.uint8)
    return out.transpose(0, 1) if layer.batch_first else out, last, last_cell, reserve, buffer


def _backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """First the gradients of input and states, then those of the weights, in one buffer."""
    data, weights, _, _, state, cell, out, grad, grad_state, grad_cell = args[:10]
    layer, mask = _Layer(*args[10:19]), args[-1]
    zeros = [
        recorder.new(like.shape, data.dtype)
        for like, given in ((state, grad_state), (cell, grad_cell)) if like is not None and given is None
    ]
    operands = [_steps_first(recorder, tensor, layer) for tensor in (data, out if grad is None else grad)]
    grad_data = recorder.new(operands[0].shape, data.dtype)
    gradients = [recorder.new(like.shape, data.dtype) if like is not None else None for like in (state, cell)]
    with recorder.ledger.scratch([layer.workspace(data)]):
        pass
    del operands
    grad_weights = _weight_gradients(recorder, data, weights, layer) if mask[3] else []
    del zeros
    return grad_data.transpose(0, 1) if layer.batch_first else grad_data, *gradients, grad_weights


def _weight_gradients(
    recorder: Recorder, data: torch.Tensor, weights: list[torch.Tensor], layer: _Layer
) -> list[torch.Tensor]:
    steps_first = _steps_first(recorder, data, layer)
    flat = recorder.new((flat_elements([weight.shape for weight in weights]),), data.dtype)
    with recorder.ledger.scratch([layer.workspace(data)]):
        pass
    del steps_first
    sizes = [weight.numel() for weight in weights]
    parts = torch.split_with_sizes(flat[:sum(sizes)], sizes)
    return [part.view(weight.shape) for part, weight in zip(parts, weights)]


def _steps_first(recorder: Recorder, tensor: torch.Tensor, layer: _Layer) -> torch.Tensor:
    return recorder.contiguous(tensor.transpose(0, 1) if layer.batch_first else tensor)


def _fused_cell(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input_gates, hidden_gates, cx, ...)`: the workspace comes first (aten/src/ATen/native/cuda/RNN.cu)."""
    gates, _, cell = args[:3]
    workspace = recorder.new(gates.shape, gates.dtype)
    return recorder.new_like(cell), recorder.new_like(cell), workspace


def _fused_cell_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_hy, grad_cy, cx, cy, workspace, has_bias)`."""
    cell, workspace, has_bias = args[2], args[4], args[5]
    grad_gates = recorder.new_like(workspace)
    grad_cell = recorder.new_like(cell)
    if not has_bias:
        return grad_gates, grad_cell, recorder.new((0,), workspace.dtype)
    grad_bias = recorder.new((workspace.shape[1],), workspace.dtype)
    play_scratch(recorder, grad_gates, {0}, grad_bias)
    return grad_gates, grad_cell, grad_bias


def _fused_gate_cell(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(input_gates, hidden_gates, hx, ...)`: the workspace has five values per hidden one."""
    recorder.check(aten.add.Tensor, args[:2], {})
    hidden = args[2]
    workspace = recorder.new((hidden.shape[0], _GRU_WORKSPACE * hidden.shape[1]), hidden.dtype)
    return recorder.new(hidden.shape, hidden.dtype), workspace


def _fused_gate_cell_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_hy, workspace, has_bias)`."""
    grad, workspace, has_bias = args
    width = workspace.shape[1] // _GRU_WORKSPACE
    gates = [recorder.new((workspace.shape[0], 3 * width), workspace.dtype) for _ in range(2)]
    grad_hidden = recorder.new(grad.shape, grad.dtype)
    biases: list[torch.Tensor | None] = [None, None]
    for index, gate in enumerate(gates if has_bias else []):
        bias = recorder.new((3 * width,), workspace.dtype)
        play_scratch(recorder, gate, {0}, bias)
        biases[index] = bias
    return *gates, grad_hidden, *biases


_GRU_WORKSPACE = 5
"""`GRU_WORKSPACE_MULTIPLIER` of aten/src/ATen/native/cuda/RNN.cu."""

RULES: dict[Any, Rule] = {
    aten._cudnn_rnn.default: _forward,
    aten._cudnn_rnn_backward.default: _backward,
    aten._thnn_fused_gru_cell.default: _fused_gate_cell,
    aten._thnn_fused_gru_cell_backward.default: _fused_gate_cell_backward,
    aten._thnn_fused_lstm_cell.default: _fused_cell,
    aten._thnn_fused_lstm_cell_backward_impl.default: _fused_cell_backward,
}
