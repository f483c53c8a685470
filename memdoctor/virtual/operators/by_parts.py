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


def _kaiser_window(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(window_length, periodic, beta)`: places, then the window, which has one more of them where it is periodic.

    The kernel of all devices leaves that out on the meta device (aten/src/ATen/native/TensorFactories.cpp).
    """
    length, is_periodic = args[0], args[1] if len(args) > 1 else True
    if length < 2:
        return recorder.run(func, args, kwargs)
    dtype = kwargs.get("dtype") or torch.get_default_dtype()
    places, window = (recorder.new((length + is_periodic,), dtype) for _ in range(2))
    del places
    return window[:length]


RULES: dict[Any, Rule] = {
    aten._trilinear.default: by_parts,
    aten.conv_tbc.default: by_parts,
    **{getattr(aten.blackman_window, name): by_parts for name in ("default", "periodic")},
    **{getattr(aten.kaiser_window, name): _kaiser_window for name in ("default", "periodic", "beta")},
    aten.count_nonzero.default: _count_nonzero,
    aten.count_nonzero.dim_IntList: _count_nonzero,
    aten.isinf.default: by_parts,
    aten.median.default: _median,
    aten.nanmedian.default: _median,
}
