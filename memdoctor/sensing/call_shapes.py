"""The shapes that a program's modules are called with, which tell the batch size that a step really had.

All modules are asked, not only the outermost: models are often called by keyword, which PyTorch's global hooks do not
see, while layers get their tensors by position.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

_CALLS = 8
"""Of each step: the first layers have the batch in their inputs, and further on steps may differ."""


class CallShapes:
    """Notes shapes while its `with` lasts; calls without gradient are an evaluation's, and have another batch."""

    def __init__(self) -> None:
        self._shapes: list[tuple[int, ...]] = []
        self._calls = 0
        self._handle: Any = None

    def __enter__(self) -> CallShapes:
        self._handle = register_module_forward_pre_hook(self._before_forward)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def taken(self) -> tuple[tuple[int, ...], ...]:
        """The shapes since it was last asked, which is at the end of a step."""
        shapes = tuple(self._shapes)
        self._shapes.clear()
        self._calls = 0
        return shapes

    def _before_forward(self, module: torch.nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling() or self._calls == _CALLS or not torch.is_grad_enabled():
            return
        shapes = [tuple(map(int, arg.shape)) for arg in args if isinstance(arg, torch.Tensor)]
        self._calls += bool(shapes)
        self._shapes += shapes
