"""Whether hooks of the program have packed saved tensors.

PyTorch 2.4 cannot say what a saved tensor is packed as: asked for it, it runs the user's hook, and that of
`torch.utils.checkpoint` computes the forward again. So there, no saved tensor is asked for once there were hooks.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

SAYS_WHAT_IS_PACKED = hasattr(torch._C._autograd.SavedTensor, "data")
_autograd: Any = torch._C._autograd


class PackingCalls:
    """Watches for hooks until `remove()`, on a PyTorch that needs it; what they do is unchanged."""

    were_seen = False
    """For good: a graph may outlive the `with` of its hooks, and the profile too."""

    def __init__(self) -> None:
        self._original = original = _autograd._push_saved_tensors_default_hooks
        if SAYS_WHAT_IS_PACKED:
            return

        @functools.wraps(original)
        def push(*hooks: Any) -> None:
            PackingCalls.were_seen = True
            original(*hooks)

        _autograd._push_saved_tensors_default_hooks = push

    def remove(self) -> None:
        """What was there before is there again."""
        _autograd._push_saved_tensors_default_hooks = self._original
