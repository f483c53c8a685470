"""Operators that a card too puts together from others: seen part by part, with all that is in between.

They have one kernel for all devices and a meta kernel that knows the result alone.
"""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten
_KEYS: Any = (
    torch._C.DispatchKey.CompositeExplicitAutograd, torch._C.DispatchKey.CompositeExplicitAutogradNonFunctional)


def by_parts(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The kernel of all devices, whose parts come back to the recorder."""
    key = next(key for key in _KEYS if func.has_kernel_for_dispatch_key(key))
    with recorder:
        return func._op_dk(key, *args, **kwargs)


def _count_nonzero(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, dim)`: which are not zero, then how many (aten/src/ATen/native/TensorAdvancedIndexing.cpp)."""
    tensor, dims = args[0], args[1] if len(args) > 1 else []
    with recorder:
        return (tensor != 0).sum(dims)


def _median(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Of all elements: from a sorted copy (`median_impl`, aten/src/ATen/native/cuda/Sorting.cpp)."""
    with recorder:
        ordered = args[0].reshape(-1).sort()[0]
        return torch.where(ordered[-1].isnan(), ordered[-1], ordered[0])


RULES: dict[Any, Rule] = {
    aten._trilinear.default: by_parts,
    aten.count_nonzero.default: _count_nonzero,
    aten.count_nonzero.dim_IntList: _count_nonzero,
    aten.isinf.default: by_parts,
    aten.median.default: _median,
    aten.nanmedian.default: _median,
}
