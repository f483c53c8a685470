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


def _from_dense(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`to_sparse(sparse_dim)`: places of what is not zero, a copy of them, the values there (`dense_to_sparse`)."""
    tensor = args[0]
    count = args[1] if len(args) > 1 else tensor.dim() - (kwargs.get("dense_dim") or 0)
    if kwargs.get("layout") not in (None, torch.sparse_coo):
        return recorder.run(func, args, kwargs)
    with recorder:
        mask = tensor if count == tensor.dim() else (tensor != 0).flatten(count).sum(-1)
        places = mask.nonzero()
        indices = places.t().clone(memory_format=torch.contiguous_format)
        values = tensor[tuple(indices)]
    out: torch.Tensor = aten._sparse_coo_tensor_with_dims_and_tensors(
        count, tensor.dim() - count, tensor.shape, indices, values, dtype=values.dtype, layout=torch.sparse_coo,
        device=values.device, is_coalesced=True)
    return out


def _to_dense(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = args[0]
    return recorder.new(tensor.shape, (args[1] if len(args) > 1 else kwargs.get("dtype")) or tensor.dtype)


def _rows_from_dense(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`to_sparse_csr()` of a matrix: where each row begins, the columns and the values of what is not zero."""
    tensor = args[0]
    if tensor.dim() != 2:
        return recorder.run(func, args, kwargs)
    with recorder:
        places = (tensor != 0).nonzero()
        columns, values = places[:, 1].contiguous(), tensor[tuple(places.t())]
        begins = torch.cat((
            places.new_zeros(1), torch.bincount(places[:, 0], minlength=tensor.shape[0]).cumsum(0)))
    return aten._sparse_compressed_tensor_unsafe(
        begins, columns, values, tensor.shape, dtype=values.dtype, layout=torch.sparse_csr, device=values.device)


def _assembled(
    like: torch.Tensor, indices: torch.Tensor, values: torch.Tensor, is_coalesced: bool
) -> torch.Tensor:
    out: torch.Tensor = aten._sparse_coo_tensor_with_dims_and_tensors(
        like.sparse_dim(), like.dense_dim(), like.shape, indices, values, dtype=values.dtype, layout=torch.sparse_coo,
        device=values.device, is_coalesced=is_coalesced)
    return out


RULES: dict[Any, Rule] = {
    aten._coalesce.default: _copy,
    aten._to_dense.default: _to_dense,
    aten._to_sparse.default: _from_dense,
    aten._to_sparse.sparse_dim: _from_dense,
    aten._to_sparse_csr.default: _rows_from_dense,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add_in_place,
    aten.clone.default: _copy,
    aten.sparse_mask.default: _masked,
}
