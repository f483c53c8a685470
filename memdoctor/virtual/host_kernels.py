"""What the card's own operators compute, for the host: fused attention, cuDNN's recurrent layers, fused cells.

Each takes `twin`, which gives the host's tensor for one of the card's, and then the operator's arguments. Backward
computes its forward again. Dropout inside of attention and between recurrent layers is not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

aten = torch.ops.aten

Twin = Callable[[Any], Any]
Kernel = Callable[..., Any]


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, 1) if groups > 1 else tensor for tensor in (key, value))
    return functional.scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, scale=scale)


def _attention(mask_at: int | None, causal_at: int) -> Kernel:
    """For operators that begin with query, key and value; the other results serve backward alone."""
    def kernel(twin: Twin, *args: Any, scale: float | None = None, **options: Any) -> Any:
        mask = None if mask_at is None else twin(args[mask_at])
        is_causal = args[causal_at] if len(args) > causal_at else options.get("is_causal", False)
        query, key, value = twin(args[:3])
        return (_attend(query, key, value, mask, is_causal, scale),)
    return kernel


def _attention_backward(mask_at: int | None, causal_at: int) -> Kernel:
    """For operators that begin with the gradient of the output, query, key and value."""
    def kernel(twin: Twin, *args: Any, scale: float | None = None, **options: Any) -> Any:
        mask = None if mask_at is None else twin(args[mask_at])
        is_causal = args[causal_at] if len(args) > causal_at else options.get("is_causal", False)
        grad, *operands = twin(args[:4])

        def forward(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor]:
            return (_attend(query, key, value, mask, is_causal, scale),)

        return _gradients(forward, operands, [grad])
    return kernel


def _gradients(
    function: Callable[..., Sequence[torch.Tensor]], operands: Sequence[torch.Tensor], grads: Sequence[Any]
) -> tuple[torch.Tensor, ...]:
    """Of a function with one gradient for each of its results, or None; autograd is switched off below a mode."""
    with torch._C._ForceDispatchKeyGuard(_INCLUDED, _EXCLUDED), torch.enable_grad():
        leaves = [operand.detach().requires_grad_() for operand in operands]
        results = [(out, grad) for out, grad in zip(function(*leaves), grads) if grad is not None]
        outs, given = zip(*results)
        return torch.autograd.grad(outs, leaves, given, allow_unused=True)


_keys: Any = torch._C.DispatchKey
_INCLUDED = torch._C.DispatchKeySet(_keys.BackendSelect).add(_keys.ADInplaceOrView)
_EXCLUDED = torch._C.DispatchKeySet(_keys.AutocastCPU).add(_keys.AutocastCUDA)
"""A thread begins with these (c10/core/impl/LocalDispatchKeySet.h)."""


def _recurrent(
    data: torch.Tensor, weights: Sequence[torch.Tensor], state: torch.Tensor, cell: torch.Tensor | None, layer: Any
) -> Any:
    """`layer` as in `aten::_cudnn_rnn`, from the mode to the batch sizes, of which only a packed sequence has any."""
    mode, _, _, layers, batch_first, _, train, both_ways, batch_sizes = layer
    has_biases = len(weights) // (layers * (2 if both_ways else 1)) >= _WITH_BIASES
    layout = (list(weights), has_biases, layers, 0.0, train, both_ways)
    function: Any = (torch.rnn_relu, torch.rnn_tanh, torch.lstm, torch.gru)[mode]
    states = state if cell is None else [state, cell]
    if batch_sizes:
        return function(data, torch.tensor(batch_sizes), states, *layout)
    return function(data, states, *layout, batch_first)


_WITH_BIASES = 4
"""Weights of a layer in one direction: two matrices, and two biases where there are any."""


def _cudnn_rnn(twin: Twin, *args: Any) -> Any:
    data, weights, _, _, state, cell = args[:6]
    out = _recurrent(twin(data), twin(weights), twin(state), twin(cell), args[6:15])
    return tuple(out)


def _cudnn_rnn_backward(twin: Twin, *args: Any) -> Any:
    """Gradients of input, state, cell and the list of weights."""
    data, weights, _, _, state, cell = args[:6]
    states = [twin(state)] if cell is None else [twin(state), twin(cell)]
    grads = [twin(grad) for grad in args[7:10]]
    count = len(states)

    def forward(*leaves: torch.Tensor) -> Any:
        own = leaves[1], leaves[2] if count > 1 else None
        return _recurrent(leaves[0], leaves[1 + count:], own[0], own[1], args[10:19])

    found = _gradients(forward, [twin(data), *states, *twin(weights)], grads)
    return found[0], found[1], found[2] if count > 1 else None, list(found[1 + count:])


def _cell_gates(gates: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]) -> torch.Tensor:
    total = gates[0] + gates[1]
    for bias in biases:
        total = total if bias is None else total + bias
    return total


def _lstm_cell(twin: Twin, *args: Any) -> Any:
    """Hidden state, cell, and the activated gates for backward."""
    operands = twin(args)
    gates = _cell_gates(operands[:2], operands[3:])
    taken, kept, candidate, shown = gates.chunk(4, 1)
    taken, kept, candidate, shown = taken.sigmoid(), kept.sigmoid(), candidate.tanh(), shown.sigmoid()
    cell = kept * operands[2] + taken * candidate
    return shown * cell.tanh(), cell, torch.cat([taken, kept, candidate, shown], 1)


def _lstm_cell_backward(twin: Twin, *args: Any) -> Any:
    """Gradients of the gates, of the cell before, and of the biases."""
    grad_hidden, grad_cell, before, cell, gates = twin(args[:5])
    taken, kept, candidate, shown = gates.chunk(4, 1)
    squashed = cell.tanh()
    grad_hidden = torch.zeros_like(cell) if grad_hidden is None else grad_hidden
    total = grad_hidden * shown * (1 - squashed**2) + (0 if grad_cell is None else grad_cell)
    of_gates = torch.cat([
        total * candidate * taken * (1 - taken), total * before * kept * (1 - kept),
        total * taken * (1 - candidate**2), grad_hidden * squashed * shown * (1 - shown),
    ], 1)
    return of_gates, total * kept, of_gates.sum(0) if args[5] else None


def _gru_cell(twin: Twin, *args: Any) -> Any:
    """Hidden state, and for backward: reset, update and new gate, the state before, the hidden part of the new gate."""
    data, hidden_gates, before, *biases = twin(args)
    data, hidden_gates = (
        gates if bias is None else gates + bias
        for gates, bias in zip((data, hidden_gates), biases or (None, None)))
    (reset, update, new), (hidden_reset, hidden_update, hidden_new) = data.chunk(3, 1), hidden_gates.chunk(3, 1)
    reset, update = (reset + hidden_reset).sigmoid(), (update + hidden_update).sigmoid()
    new = (new + reset * hidden_new).tanh()
    return new + update * (before - new), torch.cat([reset, update, new, before, hidden_new], 1)


def _gru_cell_backward(twin: Twin, *args: Any) -> Any:
    """Gradients of the input's gates, the state's gates, the state before, and both biases."""
    grad, workspace = twin(args[:2])
    reset, update, new, before, hidden_new = workspace.chunk(5, 1)
    of_new = grad * (1 - update) * (1 - new**2)
    of_update = grad * (before - new) * update * (1 - update)
    of_reset = of_new * hidden_new * reset * (1 - reset)
    of_data = torch.cat([of_reset, of_update, of_new], 1)
    of_hidden = torch.cat([of_reset, of_update, of_new * reset], 1)
    return of_data, of_hidden, grad * update, of_data.sum(0), of_hidden.sum(0)


def _softmax(operator: Any) -> Kernel:
    """On the host there is none that reads half precision and writes float32."""
    def kernel(twin: Twin, tensor: Any, dim: int, to_float: bool) -> torch.Tensor:
        own = twin(tensor)
        out: torch.Tensor = operator(own.float() if to_float else own, dim, False)
        return out
    return kernel


def _softmax_backward(operator: Any) -> Kernel:
    def kernel(twin: Twin, grad: Any, output: Any, dim: int, dtype: torch.dtype) -> torch.Tensor:
        own = twin(output)
        out: torch.Tensor = operator(twin(grad), own, dim, own.dtype)
        return out.to(dtype)
    return kernel


def _root_mean_square_backward(
    twin: Twin, grad: Any, tensor: Any, shape: Sequence[int], root: Any, weight: Any, wanted: Sequence[bool]
) -> Any:
    normalized, factor = twin(tensor).float() * twin(root), twin(grad).float()
    scaled = factor if weight is None else factor * twin(weight).float()
    dims = list(range(-len(shape), 0))
    of_input = twin(root) * (scaled - normalized * (scaled * normalized).mean(dims, keepdim=True))
    of_weight = (factor * normalized).sum(list(range(normalized.dim() - len(shape))))
    return of_input if wanted[0] else None, of_weight if wanted[1] else None


_BY_NAME: dict[str, Kernel] = {
    "_scaled_dot_product_flash_attention": _attention(mask_at=None, causal_at=4),
    "_scaled_dot_product_flash_attention_backward": _attention_backward(mask_at=None, causal_at=11),
    "_scaled_dot_product_efficient_attention": _attention(mask_at=3, causal_at=6),
    "_scaled_dot_product_efficient_attention_backward": _attention_backward(mask_at=4, causal_at=11),
    "_scaled_dot_product_cudnn_attention": _attention(mask_at=3, causal_at=6),
    "_scaled_dot_product_cudnn_attention_backward": _attention_backward(mask_at=8, causal_at=14),
    "_cudnn_rnn": _cudnn_rnn,
    "_cudnn_rnn_backward": _cudnn_rnn_backward,
    "_thnn_fused_lstm_cell": _lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
    "_thnn_fused_gru_cell": _gru_cell,
    "_thnn_fused_gru_cell_backward": _gru_cell_backward,
    "_softmax": _softmax(aten._softmax.default),
    "_log_softmax": _softmax(aten._log_softmax.default),
    "_softmax_backward_data": _softmax_backward(aten._softmax_backward_data.default),
    "_log_softmax_backward_data": _softmax_backward(aten._log_softmax_backward_data.default),
    "_fused_rms_norm": lambda twin, *args: aten._fused_rms_norm.default(*twin(args)),
    "_fused_rms_norm_backward": _root_mean_square_backward,
}
HOST_KERNELS: dict[Any, Kernel] = {
    getattr(aten, name).default: kernel for name, kernel in _BY_NAME.items() if hasattr(aten, name)
}
