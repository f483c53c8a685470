"""Sums, means and norms: the output, then scratch that thread blocks share."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch

from memdoctor.virtual.kernels.reductions import reduction_scratch
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)


def _whole(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = recorder.run(func, args, kwargs)
    _play_cast(recorder, args[0], range(args[0].dim()), out)
    return out


def _along(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, dim, ...)`; no dimension means all."""
    out = recorder.run(func, args, kwargs)
    tensor, dims = args[0], args[1] if len(args) > 1 else None
    _play_cast(recorder, tensor, _dimensions(tensor, dims), out)
    return out


def _play_cast(recorder: Recorder, tensor: torch.Tensor, reduced: Collection[int], out: torch.Tensor) -> None:
    """Numbers are converted before they are summed, but for those of half precision that are summed as floats.

    `make_reduction_from_ty` of aten/src/ATen/native/ReduceOpsUtils.h; truth values are not, for `all` and `any`.
    """
    is_converted = tensor.dtype is not out.dtype and out.dtype is not torch.bool and not (
        tensor.dtype in _HALVES and out.dtype is torch.float32)
    copy = recorder.new_like(tensor, out.dtype) if is_converted else tensor
    play_scratch(recorder, copy, reduced, out)


def _running(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Of another type than the result, numbers are converted as a whole; what does not lie in a row is copied.

    Source: `scan_dim` of aten/src/ATen/native/cuda/ScanUtils.cuh.
    """
    tensor, out = args[0], recorder.run(func, args, kwargs)
    own = tensor if tensor.dtype is out.dtype else recorder.new_like(tensor, out.dtype)
    with recorder.ledger.scratch([one.nbytes for one in (out, own) if not one.is_contiguous()]):
        return out


def _scanned(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The same, where types are those of the input."""
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([] if args[0].is_contiguous() else [args[0].nbytes]):
        return out


def _is_in(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(elements, test_elements, ...)`: each is compared with each where there are few (`isin_default_kernel_gpu`)."""
    elements, others = args[:2]
    out = recorder.run(func, args, kwargs)
    is_compared = others.numel() < 10 * elements.numel() ** 0.145
    with recorder.ledger.scratch([elements.numel() * others.numel(), elements.numel()] if is_compared else []):
        return out


def _absolute(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Of complex numbers, computed as complex ones first (`unary_op_impl_with_complex_to_float_out`)."""
    out = recorder.run(func, args, kwargs)
    with recorder.ledger.scratch([args[0].nbytes] if args[0].is_complex() else []):
        return out


def _norm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, ord, dim, ...)`."""
    out = recorder.run(func, args, kwargs)
    tensor, dims = args[0], args[2] if len(args) > 2 else None
    play_scratch(recorder, tensor, _dimensions(tensor, dims), out)
    return out


def _renorm(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, p, dim, maxnorm)`: norms; those of halves are floats, and factors come of them (Normalization.cpp)."""
    tensor, p, dim = args[:3]
    is_half = tensor.dtype in _HALVES
    out = recorder.run(func, args, kwargs)
    with recorder:
        norm = torch.linalg.vector_norm(
            tensor, p, [each for each in range(tensor.dim()) if each != dim % tensor.dim()], True,
            dtype=torch.float32 if is_half else None)
    with recorder.ledger.scratch([norm.numel() * tensor.element_size()] if is_half else []):
        return out


def _log_of_sums(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, dim, ...)`: maxima, which of them are infinite, exponentials at full size, then the result."""
    tensor, dims = args[0], _dimensions(args[0], args[1])
    reduced = math.prod(tensor.shape[dim] for dim in dims)
    maxima = tensor.nbytes // max(1, reduced)
    with recorder.ledger.scratch([maxima]):
        with recorder.ledger.scratch([maxima, maxima // tensor.element_size()]):
            pass
        with recorder.ledger.scratch([tensor.nbytes]):
            out = recorder.run(func, args, kwargs)
            play_scratch(recorder, tensor, dims, out)
            return out


def _dimensions(tensor: torch.Tensor, dims: Any) -> Collection[int]:
    if dims is None or dims == []:
        return range(tensor.dim())
    chosen = [dims] if isinstance(dims, int) else dims
    return {dim % tensor.dim() for dim in chosen} if tensor.dim() else ()


def play_scratch(recorder: Recorder, tensor: torch.Tensor, reduced: Collection[int], out: torch.Tensor) -> None:
    """Take and return the scratch of a reduction; accumulators are float32 for floats, else as wide as the result."""
    wide = out.dtype if not out.dtype.is_floating_point or out.dtype is torch.float64 else torch.float32
    scratch = reduction_scratch(
        tensor.shape, tensor.stride(), frozenset(reduced), accumulator_bytes=wide.itemsize,
        sm_count=recorder.card.sm_count, threads_per_sm=recorder.card.max_threads_per_sm,
    )
    with recorder.ledger.scratch(scratch):
        pass


RULES: dict[Any, Rule] = {
    aten.abs.default: _absolute,
    **{operator: _running for operator in (
        aten.cumprod.default, aten.cumprod_.default, aten.cumsum.default, aten.cumsum_.default)},
    **{operator.default: _scanned for operator in (aten.cummax, aten.cummin, aten.logcumsumexp)},
    aten.angle.default: _absolute,
    aten.sum.default: _whole,
    aten.mean.default: _whole,
    aten.prod.default: _whole,
    aten.prod.dim_int: _along,
    aten.sum.dim_IntList: _along,
    aten.mean.dim: _along,
    aten.isin.Tensor_Tensor: _is_in,
    aten.linalg_vector_norm.default: _norm,
    aten.logsumexp.default: _log_of_sums,
    aten.renorm.default: _renorm,
    aten.renorm_.default: _renorm,
    **{operator: rule for kind in (aten.all, aten.any) for operator, rule in (
        (kind.default, _whole), (kind.dim, _along), (kind.dims, _along))},
}
