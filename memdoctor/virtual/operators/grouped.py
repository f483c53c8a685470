"""Products of groups of rows, each with a matrix of its own: the experts of a mixture."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _grouped_product(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """PyTorch's meta kernel refuses all but bfloat16; CUDA multiplies other types group by group, into one output."""
    first, second = args[:2]
    if first.dtype is torch.bfloat16:
        return recorder.run(func, args, kwargs)
    offsets = args[2] if len(args) > 2 else kwargs.get("offs")
    return recorder.new(_shape(first, second, offsets), kwargs.get("out_dtype") or first.dtype)


def _shape(first: torch.Tensor, second: torch.Tensor, offsets: torch.Tensor | None) -> tuple[int, ...]:
    """`offsets` end the groups along the dimension that all of them share, where a side has no dimension of groups."""
    rows, columns = first.shape[-2], second.shape[-1]
    if first.dim() == 2 and second.dim() == 2 and offsets is not None:
        return offsets.shape[0], rows, columns
    if first.dim() == 3 and second.dim() == 3:
        return first.shape[0], rows, columns
    return rows, columns


RULES: dict[Any, Rule] = {aten._grouped_mm.default: _grouped_product} if hasattr(aten, "_grouped_mm") else {}
