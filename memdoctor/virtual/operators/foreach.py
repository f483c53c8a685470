"""Operators on lists of tensors that need scratch."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.kernels.foreach import foreach_norm_scratch
from memdoctor.virtual.recorder import Recorder, Rule


def _norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The partial norms of all tensors come before the results."""
    tensors = args[0]
    with recorder.ledger.scratch([foreach_norm_scratch([tensor.numel() for tensor in tensors])]):
        return recorder.run(func, args, kwargs)


def _in_place(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Fused optimizers that PyTorch has no meta kernel for; they take nothing."""
    return None


aten = torch.ops.aten
RULES: dict[Any, Rule] = {
    aten._foreach_norm.Scalar: _norm,
    **{getattr(getattr(aten, name), variant): _in_place
       for name in ("_fused_sgd_", "_fused_adagrad_") if hasattr(aten, name)
       for variant in getattr(aten, name).overloads() if not variant.endswith("out")},
}
