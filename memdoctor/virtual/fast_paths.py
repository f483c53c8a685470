"""Layers that look whether torch functions are overridden before they take their fast path.

`torch.nn.TransformerEncoderLayer` does in evaluation; our own mode is no override of anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from memdoctor.virtual.patches import Patches

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def patch_fast_paths(patches: Patches) -> None:
    patches.replace(torch.overrides, "has_torch_function", _has_subclass)


def _has_subclass(args: Iterable[Any]) -> bool:
    """As `torch.overrides.has_torch_function`, without the modes that are active."""
    disabled = torch._C._disabled_torch_function_impl
    kinds = {type(arg) for arg in args}
    return any(getattr(kind, "__torch_function__", disabled) is not disabled for kind in kinds.difference(_PLAIN))
