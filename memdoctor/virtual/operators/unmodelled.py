"""Operators that PyTorch has no meta kernel for, and whose results have the shape of an argument.

Nothing is known of their scratch; it is left out.
"""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _like(position: int) -> Rule:
    def rule(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        return recorder.new_like(args[position])
    return rule


def _with_mask(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Fake quantisation saves where values were inside of the range."""
    return recorder.new_like(args[0]), recorder.new_like(args[0], torch.bool)


RULES: dict[Any, Rule] = {
    **{operator.default: _like(0) for operator in (
        aten._dirichlet_grad, aten._sample_dirichlet, aten._standard_gamma_grad)},
    **{operator.default: _like(1) for operator in (
        aten.fractional_max_pool3d_backward, aten.multi_margin_loss_backward, aten.multilabel_margin_loss_backward)},
    **{operator.default: _with_mask for operator in (
        aten.fake_quantize_per_channel_affine_cachemask, aten.fake_quantize_per_tensor_affine_cachemask,
        aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams)},
}
