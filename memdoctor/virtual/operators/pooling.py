"""Backwards that read a contiguous gradient: the result comes first, then a copy of one that is not contiguous."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_output, ...)`; channels last counts as contiguous."""
    grad = args[0]
    out = recorder.run(func, args, kwargs)
    if not (grad.dim() == 4 and grad.is_contiguous(memory_format=torch.channels_last)):
        recorder.contiguous(grad)
    return out


RULES: dict[Any, Rule] = {
    operator.default: _backward
    for operator in (
        aten.max_pool2d_with_indices_backward, aten.avg_pool2d_backward, aten._adaptive_avg_pool2d_backward,
        aten.adaptive_max_pool2d_backward, aten.upsample_nearest2d_backward, aten.upsample_bilinear2d_backward,
        aten.upsample_bicubic2d_backward, aten.nll_loss_backward,
    )
}
