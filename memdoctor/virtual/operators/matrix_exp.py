"""The exponential of matrices: a polynomial of degree 18 in the scaled matrix, then squares of it.

Several matrices always go that way. For a single one of small norm a card looks for a lower degree, which needs less;
norms are not known here, and the highest degree is taken. Source: `mexp_impl` and `compute_T18_scale_square` of
aten/src/ATen/native/LinearAlgebra.cpp.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from memdoctor.virtual.operators.matmul import hold_workspace
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_POWERS = 5


def _matrix_exp(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = args[0]
    if tensor.shape[-1] < 2 or not tensor.numel():
        return recorder.run(func, args, kwargs)
    recorder.check(func, args, kwargs)
    with recorder:
        matrices = tensor.view(-1, *tensor.shape[-2:])
        norm = matrices.abs().sum(-2).max(-1)[0]
        several = _of_several if len(matrices) > 1 else _of_one
        out: torch.Tensor = several(recorder, matrices, norm).view(tensor.shape)
        return out


def _of_one(recorder: Recorder, matrix: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    """Filled with nan at first; what is computed is chosen by index and written by index."""
    out = torch.full_like(matrix, math.nan, memory_format=torch.contiguous_format)
    chosen = recorder.new((1,), torch.int64)
    found = _of_several(recorder, matrix.index_select(0, chosen), norm.index_select(0, chosen))
    return out.index_put_((chosen,), found)


def _of_several(recorder: Recorder, matrices: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    scale = (norm / math.e).log2().ceil().clamp(min=0)
    factor = torch.pow(2, -scale)
    scaled = matrices * factor.view(-1, 1, 1)
    sums = _combined_powers(recorder, scaled, norm.dtype)
    power = scaled.index_select(0, torch.sort(scale)[1])
    squared = torch.empty_like(power)
    del power
    ordered = torch.cat([squared])
    out = torch.empty_like(ordered)
    del sums
    return out


def _combined_powers(recorder: Recorder, matrices: torch.Tensor, real: torch.dtype) -> torch.Tensor:
    """The identity and four powers, and as many sums of them with coefficients that come from the host."""
    coefficients = recorder.new((_POWERS, _POWERS), real)
    powers = recorder.new((_POWERS, *matrices.shape), matrices.dtype)
    with recorder.ledger.scratch([matrices.element_size(), matrices.nbytes]):
        pass
    hold_workspace(recorder)
    sums = recorder.new((_POWERS, *matrices.shape), matrices.dtype)
    del powers, coefficients
    return sums


RULES: dict[Any, Rule] = {aten.linalg_matrix_exp.default: _matrix_exp}
