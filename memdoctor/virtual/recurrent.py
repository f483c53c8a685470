"""Recurrent layers above autograd: cuDNN's single operator, and the fused cells.

Elsewhere PyTorch puts them together step by step, and saves every step's gates.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from memdoctor.virtual.kernels.recurrent import flat_elements
from memdoctor.virtual.recurrent_steps import CELLS, gru_step, run_layers

aten = torch.ops.aten
_MODES = {"rnn_relu": 0, "rnn_tanh": 1, "lstm": 2, "gru": 3}
"""`cudnnRNNMode_t` of cudnn_adv.h."""
_DTYPES = (torch.float16, torch.float32, torch.float64, torch.bfloat16)


def recurrent_kernels() -> dict[str, Callable[..., Any]]:
    """Kernels for `AutogradMeta` by operator."""
    layers = {f"{name}.input": _layer_kernel(name) for name in _MODES}
    packed = {f"{name}.data": _packed_kernel(name) for name in _MODES}
    return {**layers, **packed, "gru_cell": _gru_cell, "lstm_cell": _lstm_cell}


def _layer_kernel(name: str) -> Callable[..., Any]:
    def layer(
        data: torch.Tensor, hidden: Any, params: list[torch.Tensor], has_biases: bool, num_layers: int,
        dropout: float, train: bool, bidirectional: bool, batch_first: bool,
    ) -> Any:
        with torch._C.DisableTorchFunction():
            state = list(hidden) if isinstance(hidden, (list, tuple)) else [hidden, None]
            if not uses_cudnn(data):
                given = [part for part in state if part is not None]
                return run_layers(
                    CELLS[name], data, given, params, has_biases, num_layers, dropout, train, bidirectional,
                    batch_first)
            return _cudnn_layer(
                name, data, state, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, [])
    return layer


def _packed_kernel(name: str) -> Callable[..., Any]:
    """Sequences of different lengths in one piece, and how many are left at each step."""
    def layer(
        data: torch.Tensor, batch_sizes: torch.Tensor, hidden: Any, params: list[torch.Tensor], has_biases: bool,
        num_layers: int, dropout: float, train: bool, bidirectional: bool,
    ) -> Any:
        with torch._C.DisableTorchFunction():
            state = list(hidden) if isinstance(hidden, (list, tuple)) else [hidden, None]
            if not uses_cudnn(data):
                given = [part for part in state if part is not None]
                return run_layers(
                    CELLS[name], data, given, params, has_biases, num_layers, dropout, train, bidirectional, False,
                    batch_sizes.tolist())
            return _cudnn_layer(
                name, data, state, params, has_biases, num_layers, dropout, train, bidirectional, False,
                batch_sizes.tolist())
    return layer


def _cudnn_layer(
    name: str, data: torch.Tensor, state: list[Any], params: list[torch.Tensor], has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool, batch_sizes: list[int],
) -> Any:
    if train and dropout:
        torch.empty((), dtype=torch.int64, device=data.device)  # the seed, read while the dropout state is made
    data, state, params, buffer = _cast_or_flat(data, state, params)
    proj_size = state[0].shape[2] if state[1] is not None and state[0].shape != state[1].shape else 0
    hidden_size = (state[0] if state[1] is None else state[1]).shape[2]
    out = aten._cudnn_rnn(
        data, params, 4 if has_biases else 2, buffer, *state, _MODES[name], hidden_size, proj_size, num_layers,
        batch_first, dropout, train, bidirectional, batch_sizes, None)
    return tuple(out[:3] if name == "lstm" else out[:2])


def is_acceptable(tensor: torch.Tensor) -> bool:
    """As `torch.backends.cudnn.is_acceptable`, which decides whether weights are put into one buffer beforehand.

    It knows fewer types than cuDNN's layers take: weights in bfloat16 go into a new buffer at each call.
    """
    return uses_cudnn(tensor) and tensor.dtype is not torch.bfloat16


def uses_cudnn(tensor: torch.Tensor) -> bool:
    """Whether recurrent layers are cuDNN's; asked with the function mode in place, and without."""
    return (tensor.is_cuda or tensor.is_meta) and torch.backends.cudnn.enabled and tensor.dtype in _DTYPES


def _cast_or_flat(
    data: torch.Tensor, state: list[Any], params: list[torch.Tensor]
) -> tuple[torch.Tensor, list[Any], list[torch.Tensor], torch.Tensor | None]:
    """Under autocast everything is cast, the weights into one buffer; else they may have been put into one before.

    To float16 whatever autocast's type is: `_cudnn_rnn_cast_reflatten`, aten/src/ATen/cudnn/AutocastRNN.cpp.
    """
    if not torch.is_autocast_enabled("cuda"):
        return data, state, params, _flat_buffer(params)
    buffer = _flat_buffer(params)
    if params[0].dtype is not torch.float16:
        buffer = params[0].new_empty(flat_elements([param.shape for param in params]), dtype=torch.float16)
        starts = itertools.accumulate((param.numel() for param in params), initial=0)
        cast: Any = _CastInto.apply
        params = [cast(param, buffer, start) for param, start in zip(params, starts)]
    state = [part if part is None else part.to(torch.float16) for part in reversed(state)][::-1]
    return data.to(torch.float16), state, params, buffer


class _CastInto(torch.autograd.Function):
    """A weight as a part of the buffer that holds all of them."""

    @staticmethod
    def forward(ctx: Any, param: torch.Tensor, buffer: torch.Tensor, start: int) -> torch.Tensor:
        ctx.dtype = param.dtype
        return buffer[start: start + param.numel()].view(param.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return grad.to(ctx.dtype), None, None


def _flat_buffer(params: list[torch.Tensor]) -> torch.Tensor | None:
    storage = params[0].untyped_storage()
    if any(param.untyped_storage()._cdata != storage._cdata for param in params):
        return None
    count = storage.nbytes() // params[0].element_size()
    return params[0].detach().as_strided((count,), (1,), 0)


def flatten_weights(weights: list[torch.Tensor], *layout: Any) -> torch.Tensor:
    """`torch._cudnn_rnn_flatten_weight`: one buffer for all weights of a layer, which then are views of it."""
    total = flat_elements([weight.shape for weight in weights])
    buffer = torch.zeros(total, dtype=weights[0].dtype, device=weights[0].device)
    start = 0
    for weight in weights:
        part: Any = buffer[start: start + weight.numel()].view_as(weight)
        weight.set_(part.copy_(weight))
        start += weight.numel()
    return buffer


def _lstm_cell(
    data: torch.Tensor, hidden: list[torch.Tensor], w_ih: torch.Tensor, w_hh: torch.Tensor,
    b_ih: torch.Tensor | None = None, b_hh: torch.Tensor | None = None,
) -> Any:
    """Two products without bias; the fused kernel adds both biases (`LSTMCell`, aten/src/ATen/native/RNN.cpp)."""
    with torch._C.DisableTorchFunction():
        gates = torch.matmul(data, w_ih.t()), torch.matmul(hidden[0], w_hh.t())
        return tuple(aten._thnn_fused_lstm_cell(*gates, hidden[1], b_ih, b_hh)[:2])


def _gru_cell(*args: torch.Tensor) -> torch.Tensor:
    with torch._C.DisableTorchFunction():
        return gru_step(*args)
