"""Operators that PyTorch has no meta kernel for, and whose results have shapes that follow from their arguments'.

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


def _least_squares(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(A, B, ...)` by `gels`, the only driver on CUDA: no rank, no singular values; both matrices are overwritten."""
    matrix, other = args[:2]
    rows, columns = matrix.shape[-2:]
    is_vector = other.dim() == 1 or (other.dim() == matrix.dim() - 1 and other.shape == matrix.shape[:-1])
    right = other.unsqueeze(-1) if is_vector else other
    batch = torch.broadcast_shapes(  # type: ignore[no-untyped-call]  # untyped in torch
        matrix.shape[:-2], right.shape[:-2])
    with recorder.ledger.scratch([matrix.nbytes, right.nbytes]):
        solution = recorder.new((*batch, columns, *([] if is_vector else [right.shape[-1]])), matrix.dtype)
    residuals = recorder.new((*batch, right.shape[-1]) if rows > columns else (0,), matrix.dtype)
    return solution, residuals, recorder.new((0,), torch.int64), recorder.new((0,), matrix.dtype)


def _weight_norm_backward(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(grad_w, saved_v, saved_g, ...)`; PyTorch 2.4 has no meta kernel for it."""
    return recorder.new_like(args[1]), recorder.new_like(args[2])


RULES: dict[Any, Rule] = {
    aten._weight_norm_interface_backward.default: _weight_norm_backward,
    **{operator.default: _like(0) for operator in (
        aten._dirichlet_grad, aten._sample_dirichlet, aten._standard_gamma_grad, aten.binomial)},
    **{operator.default: _like(1) for operator in (
        aten.fractional_max_pool3d_backward, aten.multi_margin_loss_backward, aten.multilabel_margin_loss_backward)},
    aten.linalg_lstsq.default: _least_squares,
    **{operator.default: _with_mask for operator in (
        aten.fake_quantize_per_channel_affine_cachemask, aten.fake_quantize_per_tensor_affine_cachemask,
        aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams)},
}
