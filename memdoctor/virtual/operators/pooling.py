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


def _copy_first(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    grad = recorder.contiguous(args[0])
    out = recorder.run(func, args, kwargs)
    del grad
    return out


RULES: dict[Any, Rule] = {
    **{operator.default: _backward for operator in (
        aten.max_pool2d_with_indices_backward, aten.avg_pool2d_backward, aten._adaptive_avg_pool2d_backward,
        aten.adaptive_max_pool2d_backward, aten.upsample_nearest2d_backward, aten.upsample_bilinear2d_backward,
        aten.upsample_bicubic2d_backward, aten.nll_loss_backward,
        aten.max_pool3d_with_indices_backward, aten.avg_pool3d_backward, aten._adaptive_avg_pool3d_backward,
        aten.adaptive_max_pool3d_backward, aten._upsample_nearest_exact2d_backward,
        aten._upsample_bilinear2d_aa_backward, aten._upsample_bicubic2d_aa_backward,
        aten._upsample_nearest_exact1d_backward, aten._upsample_nearest_exact3d_backward,
        aten.upsample_nearest1d_backward, aten.upsample_nearest3d_backward, aten.upsample_trilinear3d_backward,
        aten.upsample_linear1d_backward, aten.reflection_pad1d_backward, aten.reflection_pad2d_backward)},
    aten.fractional_max_pool2d_backward.default: _copy_first,
}
