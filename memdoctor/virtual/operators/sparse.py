"""Sparse tensors in coordinate format, whose meta kernels forget how many elements there are.

As many distinct indices as there were are kept when equal ones are summed: an upper bound. The scratch of that sum is
left out.
"""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.ownership import in_backward
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _copy(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`clone` and `_coalesce`: new indices, new values, both contiguous.

    A gradient is taken over as it is (`accumulate_grad.h`); only our looks at its parts make autograd clone it.
    """
    tensor = args[0]
    if tensor.layout is not torch.sparse_coo:
        return recorder.run(func, args, kwargs)
    indices, values = tensor._indices(), tensor._values()
    if in_backward() and func is aten.clone.default and indices.is_contiguous() and values.is_contiguous():
        return _assembled(tensor, indices, values, is_coalesced=tensor.is_coalesced())
    values = recorder.new(values.shape, values.dtype)
    return _assembled(
        tensor, recorder.new(indices.shape, indices.dtype), values,
        is_coalesced=func is aten._coalesce.default or tensor.is_coalesced())


def _masked(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`sparse_mask(dense, mask)`: elements of the dense tensor, at a copy of the mask's indices."""
    tensor, mask = args[:2]
    indices, values = mask._indices(), mask._values()
    return _assembled(
        mask, recorder.new(indices.shape, indices.dtype), recorder.new(values.shape, tensor.dtype), is_coalesced=True)


def _add(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Two sparse tensors are joined, and equal indices summed only when somebody asks."""
    tensor, other = args[:2]
    if not (tensor.layout is torch.sparse_coo and isinstance(other, torch.Tensor)
            and other.layout is torch.sparse_coo):
        return recorder.run(func, args, kwargs)
    count = tensor._nnz() + other._nnz()
    indices = recorder.new((tensor._indices().shape[0], count), torch.int64)
    values = recorder.new((count, *tensor._values().shape[1:]), tensor.dtype)
    return _assembled(tensor, indices, values, is_coalesced=False)


def _add_in_place(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A sparse tensor is added to a dense one element by element."""
    tensor, other = args[:2]
    if tensor.layout is torch.strided and isinstance(other, torch.Tensor) and other.layout is torch.sparse_coo:
        recorder.known.forget(tensor)
        return tensor
    return recorder.run(func, args, kwargs)


def _assembled(
    like: torch.Tensor, indices: torch.Tensor, values: torch.Tensor, is_coalesced: bool
) -> torch.Tensor:
    out: torch.Tensor = aten._sparse_coo_tensor_with_dims_and_tensors(
        like.sparse_dim(), like.dense_dim(), like.shape, indices, values, dtype=values.dtype, layout=torch.sparse_coo,
        device=values.device, is_coalesced=is_coalesced)
    return out


RULES: dict[Any, Rule] = {
    aten._coalesce.default: _copy,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add_in_place,
    aten.clone.default: _copy,
    aten.sparse_mask.default: _masked,
}
