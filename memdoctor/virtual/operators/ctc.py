"""Connectionist temporal classification, for which PyTorch has no meta kernel."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_ARRAYS = 3
"""Lengths of inputs and targets, and target offsets, copied to the card as int64 (native/cuda/LossCTC.cu)."""


def _forward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(log_probs [T, B, C], targets, input_lengths, target_lengths, ...)`; alpha is [B, T, 2 * longest + 1]."""
    log_probs, _, _, target_lengths = args[:4]
    steps, batch = log_probs.shape[:2]
    longest = max(target_lengths)
    loss = recorder.new((batch,), log_probs.dtype)
    alpha = recorder.new((batch, steps, 2 * longest + 1), log_probs.dtype)
    with recorder.ledger.scratch([8 * batch] * _ARRAYS):
        return loss, alpha


def _backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad, log_probs, targets, input_lengths, target_lengths, loss, alpha, ...)`; beta is as large as alpha."""
    log_probs, alpha = args[1], args[6]
    with recorder.ledger.scratch([8 * log_probs.shape[1]] * _ARRAYS + [alpha.nbytes]):
        return recorder.new_like(log_probs)


RULES: dict[Any, Rule] = {
    aten._ctc_loss.default: _forward,
    aten._ctc_loss_backward.default: _backward,
}
