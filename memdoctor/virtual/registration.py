"""Python kernels at one dispatch key of PyTorch's operators, for the time of a `with`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

_library: Any = torch.library


def overload(name: str) -> Any:
    """The operator of `aten` with this name; no overload means `default`."""
    plain, _, variant = name.partition(".")
    return getattr(getattr(torch.ops.aten, plain), variant or "default")


@contextlib.contextmanager
def registered(kernels: Mapping[str, Callable[..., Any]], key: str) -> Iterator[None]:
    """Register `{operator: kernel}` of the namespace `aten`; whatever stood there before is back at the end."""
    library = _library.Library("aten", "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch says once that a kernel is replaced, which is meant.
            for name, kernel in kernels.items():
                library.impl(name, kernel, key)
        yield
    finally:
        library._destroy()
