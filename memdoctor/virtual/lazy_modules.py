"""`nn.LazyLinear` and its kin: a parameter without a shape stays one when its module moves to the card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from memdoctor.virtual.patches import Patches


def patch_lazy_modules(patches: Patches) -> None:
    """Parameters change places with their copies on the card, which have forgotten that they wait for a shape."""
    patches.set(torch.nn.Module, "_apply", _keeping_lazy(torch.nn.Module._apply))


def _keeping_lazy(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        parameters = [parameter for parameter in module._parameters.values() if parameter is not None]
        lazy = [(parameter, type(parameter)) for parameter in parameters if is_lazy(parameter)]
        out = original(module, *args, **kwargs)
        for parameter, kind in lazy:
            parameter.__class__ = kind
        return out
    return _apply
