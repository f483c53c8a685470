"""Operators whose result on a card depends on values, or that PyTorch has no meta kernel for.

Each answer follows the table in `values.py`; the sizes are upper bounds where a real card would look at the data.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from memdoctor.virtual.complaints import refuse_mask
from memdoctor.virtual.detectors import rows_chosen
from memdoctor.virtual.ownership import in_backward, is_sole
from memdoctor.virtual.recorder import Operator, Recorder, Rule
from memdoctor.virtual.sparse_parts import assembled, parts
from memdoctor.virtual.values import plausible_number

aten = torch.ops.aten


def _to_copy(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    source, target = args[0], kwargs.get("device")
    if not isinstance(source, torch.Tensor):  # a number of the program's, which `vmap` converts as a tensor of the host
        return func(torch.tensor(source), **kwargs)
    if source.is_meta and target is not None and target.type == "cpu":
        return _copy_to_host(recorder, func, source, kwargs)
    if source.is_meta:
        return recorder.run(func, args, kwargs)
    if source.layout is not torch.strided and target is not None and target.type == "meta":
        return _sparse_to_card(recorder, func, source, kwargs)
    out = func(*args, **kwargs)
    recorder.admit(out)
    if out.is_meta and recorder.known.follows(out):
        recorder.known.learn(out, source)
    return out


def _sparse_to_card(recorder: Recorder, func: Operator, source: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
    """Part by part: a copy to meta would forget how many elements there are."""
    *places, values = parts(source)
    kwargs = {name: value for name, value in kwargs.items() if name != "layout"}
    of_places = {name: value for name, value in kwargs.items() if name != "dtype"}
    copies = [_to_copy(recorder, func, (part,), of_places) for part in places]
    copies.append(_to_copy(recorder, func, (values,), kwargs))
    return assembled(source, copies)


def _copy_to_host(recorder: Recorder, func: Operator, source: torch.Tensor, kwargs: dict[str, Any]) -> Any:
    if source.layout is not torch.strided:
        options = {name: value for name, value in kwargs.items() if name in ("device", "non_blocking")}
        return assembled(source, [_copy_to_host(recorder, func, part, options) for part in parts(source)])
    twin = recorder.known.of(source)
    if twin is None:
        recorder.reads.note("copy to host")
        twin = torch.empty_strided(source.size(), source.stride(), dtype=source.dtype, device="cpu").zero_()
    return func(twin, **{**kwargs, "pin_memory": False}).clone()


def _copy_(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target, source = args[0], args[1]
    if target.is_meta:
        recorder.run(func, args, kwargs)
        if not source.is_meta and recorder.known.follows(target) and not recorder.known.has(target):
            recorder.known.learn(target, source.expand_as(target))
        return target
    if source.is_meta:
        twin = recorder.known.of(source)
        if twin is None:
            recorder.reads.note("copy to host")
            return target.zero_()
        source = twin
    return func(target, source, *args[2:], **kwargs)


def _local_scalar_dense(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = args[0]
    twin = recorder.known.of(tensor) if tensor.is_meta else tensor
    if twin is not None:
        return func(twin)
    recorder.reads.note("item")
    return plausible_number(tensor.dtype)


def _equal(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    first, second = args[:2]
    if first.shape != second.shape:
        return False
    if func is aten.allclose.default and first.is_meta:
        with recorder:
            torch.isclose(*args, **kwargs).all()
    elif first.is_meta:
        with recorder.ledger.scratch([first.numel(), 1]):
            pass
    try:
        return func(*recorder.known.twins(args), **kwargs)
    except LookupError:
        recorder.reads.note("equal")
        return first.dtype is not torch.bool or first.dim() > 0


def _nonzero(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """CUDA writes one row per dimension and returns the transpose (aten/src/ATen/native/cuda/Nonzero.cu)."""
    mask = args[0]
    twin = recorder.known.of(mask) if mask.is_meta else mask
    if twin is None:
        recorder.reads.note("nonzero")
    rows = rows_chosen(mask.numel()) if twin is None else int(twin.count_nonzero())
    out = torch.empty((mask.dim(), rows), dtype=torch.int64, device="meta").t()
    recorder.admit(out)
    if twin is not None and recorder.known.follows(out):
        recorder.known.learn(out, func(twin))
    return out


def _masked_select(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, mask = torch.broadcast_tensors(*args)  # type: ignore[no-untyped-call]  # untyped in torch
    return _index(recorder, aten.index.Tensor, (tensor, [mask]), {})


def _index(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Masks become index tensors first, as on the card."""
    tensor, indices = args[0], args[1]
    if not tensor.is_meta and any(index is not None and index.is_meta for index in indices):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if tensor.is_meta:
        indices = _without_masks(recorder, tensor, indices)
    run = recorder.operators.get(func, Recorder.run) if tensor.is_meta else Recorder.run
    return run(recorder, func, (tensor, indices, *args[2:]), kwargs)


def _index_put(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One value for all that a mask selects: `masked_fill`, which needs no indices (`canDispatchToMaskedFill`)."""
    tensor, indices, value = args[:3]
    accumulates = args[3] if len(args) > 3 else kwargs.get("accumulate", False)
    masks = [index for index in indices if index is not None]
    if len(masks) == 1 and masks[0].dtype is torch.bool and value.numel() == 1 and not accumulates and tensor.is_meta:
        return recorder.run(func, args, kwargs)
    return _index(recorder, func, args, kwargs)


def _without_masks(
    recorder: Recorder, tensor: torch.Tensor, indices: Sequence[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    """A mask becomes one index tensor for each of its dimensions."""
    columns: list[torch.Tensor | None] = []
    for index in indices:
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            columns.append(index)
        else:
            refuse_mask(index, tensor, len(columns))
            columns += _nonzero(recorder, aten.nonzero.default, (index,), {}).unbind(1)
    return columns


def _sized_by_contents(
    bound: Callable[..., Any],
    recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any],
) -> Any:
    """The exact result where the contents are known, else the largest result that is possible."""
    if not args[0].is_meta:
        return func(*args, **kwargs)
    try:
        contents = func(*recorder.known.twins(args), **{name: recorder.known.twins(v) for name, v in kwargs.items()})
    except LookupError:
        recorder.reads.note(func._schema.name.partition("::")[2].strip("_"))
        contents = None
    sizes = bound(*args, **kwargs) if contents is None else contents
    several = isinstance(sizes, tuple)
    outputs = [torch.empty_like(size, device="meta") for size in (sizes if several else (sizes,))]
    recorder.admit(outputs)
    if contents is not None:
        for output, content in zip(outputs, contents if several else (contents,)):
            recorder.known.learn(output, content)
    return tuple(outputs) if several else outputs[0]


def _unique_bound(tensor: torch.Tensor, *rest: Any, **options: Any) -> tuple[torch.Tensor, ...]:
    count = tensor.numel()
    wide = functools.partial(torch.empty, dtype=torch.int64, device="meta")
    return torch.empty(count, dtype=tensor.dtype, device="meta"), wide(tensor.shape), wide(count)


def _unique_rows_bound(tensor: torch.Tensor, dim: int, *rest: Any, **options: Any) -> tuple[torch.Tensor, ...]:
    wide = functools.partial(torch.empty, tensor.shape[dim], dtype=torch.int64, device="meta")
    return torch.empty_like(tensor), wide(), wide()


def _bincount_bound(tensor: torch.Tensor, weights: torch.Tensor | None = None, minlength: int = 0) -> torch.Tensor:
    dtype = torch.int64 if weights is None else weights.dtype
    return torch.empty(minlength, dtype=dtype, device="meta")


def _repeat_bound(repeats: torch.Tensor, *, output_size: int | None = None) -> torch.Tensor:
    count = repeats.numel() if output_size is None else output_size
    return torch.empty(count, dtype=repeats.dtype, device="meta")


def _boxes_bound(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    return torch.empty(boxes.shape[0], dtype=torch.int64, device="meta")


def _assumed(
    value: bool, what: str,
    recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any],
) -> Any:
    """Unknown values are taken to be finite and equal to themselves, and to agree: `all` is true and `any` is false."""
    out = recorder.operators.get(func, Recorder.run)(recorder, func, args, kwargs)
    if out.is_meta and not recorder.known.has(out) and recorder.known.follows(out):
        recorder.reads.note(what)
        recorder.known.learn(out, torch.full(out.shape, value, dtype=out.dtype))
    return out


def _compare(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`isfinite` and `isnan` reach the card as `x == x`, `x != x`, `abs(x) != inf`, `abs(x) == inf`."""
    other = args[1]
    if args[0] is other or (not isinstance(other, torch.Tensor) and other == math.inf):
        is_true = (args[0] is other) == (func in (aten.eq.Tensor, aten.eq.Scalar))
        return _assumed(is_true, "isfinite", recorder, func, args, kwargs)
    return recorder.run(func, args, kwargs)


def _above(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`LBFGS` keeps a step whose curvature is above this number; on a card it practically always is."""
    if args[1] == _LBFGS_CURVATURE and args[0].numel() == 1:
        return _assumed(True, "curvature of LBFGS", recorder, func, args, kwargs)
    return recorder.run(func, args, kwargs)


_LBFGS_CURVATURE = 1e-10
"""torch/optim/lbfgs.py."""


def _no_overflow(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Gradients are taken to be finite: `found_inf` keeps its zero and the scale its value."""
    return None


def _accumulate(recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Where gradient paths join, autograd adds in place; under a dispatch mode it would allocate a new sum.

    `isTensorSubclassLike` (torch/csrc/autograd/input_buffer.cpp) is true for every tensor while a mode is active.
    """
    if in_backward() and len(args) == 2 and not kwargs and _can_take_sum(*args):
        if not recorder.formula.made(*map(recorder.birth_of, args)):
            return args[0]
    return recorder.operators.get(func, Recorder.run)(recorder, func, args, kwargs)


def _can_take_sum(first: Any, second: Any) -> bool:
    return (
        isinstance(second, torch.Tensor)
        and second.is_meta
        and first.layout is second.layout is torch.strided
        and first.shape == second.shape and first.dtype == second.dtype
        and is_sole(first)
    )


ANSWERS: dict[Any, Rule] = {
    aten._to_copy.default: _to_copy,
    aten.copy_.default: _copy_,
    aten._local_scalar_dense.default: _local_scalar_dense,
    aten.equal.default: _equal,
    aten.allclose.default: _equal,
    aten.nonzero.default: _nonzero,
    aten.masked_select.default: _masked_select,
    aten.index.Tensor: _index,
    aten.index_put.default: _index_put,
    aten.index_put_.default: _index_put,
    aten._index_put_impl_.default: _index_put,
    aten._unique2.default: functools.partial(_sized_by_contents, _unique_bound),
    aten.unique_consecutive.default: functools.partial(_sized_by_contents, _unique_bound),
    aten.unique_dim.default: functools.partial(_sized_by_contents, _unique_rows_bound),
    aten.bincount.default: functools.partial(_sized_by_contents, _bincount_bound),
    aten.repeat_interleave.Tensor: functools.partial(_sized_by_contents, _repeat_bound),
    aten._amp_foreach_non_finite_check_and_unscale_.default: _no_overflow,
    aten._amp_update_scale_.default: lambda recorder, func, args, kwargs: args[0],
    "torchvision::nms": functools.partial(_sized_by_contents, _boxes_bound),
    aten.add.Tensor: _accumulate,
    aten._nested_tensor_from_mask_left_aligned.default: lambda recorder, func, args, kwargs: False,
}
"""By operator, or by name where the package that defines it may be imported later."""

ASSUMPTIONS: dict[Any, Rule] = {
    aten.isnan.default: functools.partial(_assumed, False, "isnan"),
    aten.eq.Tensor: _compare,
    aten.ne.Tensor: _compare,
    aten.eq.Scalar: _compare,
    aten.ne.Scalar: _compare,
    aten.gt.Scalar: _above,
    **{getattr(aten.all, name): functools.partial(_assumed, True, "all") for name in ("default", "dim", "dims")},
    **{getattr(aten.any, name): functools.partial(_assumed, False, "any") for name in ("default", "dim", "dims")},
}
"""What is taken to be true of values that nobody computes."""
