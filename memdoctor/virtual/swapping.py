"""A module that moves keeps its parameters: the objects, their attributes and hooks, whoever else refers to them.

Moves between host and card swap what is behind the objects, because `parameter.data = ...` cannot make a host tensor a
meta tensor. PyTorch's own swap refuses tensors that have weak references or that a graph has saved, and takes
attributes and hooks away; a card knows no such limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from memdoctor.virtual.patches import Patches

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def patch_swapping(patches: Patches) -> None:
    """`Module._apply` calls the one, scripted modules have the other."""
    patches.set(torch.utils, "swap_tensors", _swapping(torch.utils.swap_tensors))
    patches.set(torch.jit.ScriptModule, "_apply", _apply_to_scripted)


def _swapping(original: Callable[..., None]) -> Callable[..., None]:
    def swap_tensors(kept: torch.Tensor, new: torch.Tensor) -> None:
        """What `_apply` swaps in is always a plain new tensor; anything else is a swap of the program's own."""
        if type(new) not in _PLAIN or new.__dict__ or is_traceable_wrapper_subclass(kept):
            original(kept, new)
            return
        torch._C._swap_tensor_impl(kept, new)
        for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            _hang_up_again(kept, hooks)
    return swap_tensors


def _hang_up_again(tensor: torch.Tensor, name: str) -> None:
    """The object still has its hooks, but autograd knows only those of what is behind it now."""
    hooks = getattr(tensor, name, None)
    if hooks is not None:
        setattr(tensor, name, None)
        setattr(tensor, name, hooks)


def _apply_to_scripted(module: Any, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
    """A scripted module keeps its tensors in C++, where they are replaced."""
    if recurse:
        for child in module.children():
            child._apply(fn)
    for name, parameter in module.named_parameters(recurse=False):
        with torch.no_grad():
            moved = fn(parameter)
        module._c.setattr(name, torch.nn.Parameter(moved, parameter.requires_grad))
    for name, buffer in module.named_buffers(recurse=False):
        module._c.setattr(name, fn(buffer))
    return module
