"""What Python and PyTorch keep on the program's behalf, where no variable of the user's leads to it."""

from __future__ import annotations

import builtins
import gc
import logging
import sys
import weakref
from collections.abc import Iterator

from torch.nn.modules import module

from memdoctor.foundation.looks import Piece

_LAST_ERROR = ("last_exc", "last_value", "last_traceback")
"""Set where an interactive session has shown an exception; it keeps the variables of all functions it came through."""
_MODULE_HOOKS = ("forward_pre", "forward", "backward_pre", "backward")


def registries() -> Iterator[tuple[Piece, object]]:
    """Each under the name by which a program reaches it."""
    for name in _LAST_ERROR:
        yield _registry(f"sys.{name}", "the interactive interpreter"), getattr(sys, name, None)
    yield _registry("_", "the interactive interpreter"), getattr(builtins, "_", None)
    yield _registry("gc.garbage", "the collector"), gc.garbage
    finalizers = vars(weakref.finalize).get("_registry")
    yield _registry("weakref.finalize", "the module weakref"), finalizers
    yield _registry("logging.getLogger", "the module logging"), vars(logging.root)
    yield _registry("logging.getLogger", "the module logging"), logging.Logger.manager.loggerDict
    for kind in _MODULE_HOOKS:
        hooks = getattr(module, f"_global_{kind}_hooks", None)
        yield _registry(f"torch.nn.modules.module.register_module_{kind}_hook", "torch.nn"), hooks


def _registry(text: str, keeper: str) -> Piece:
    return Piece("registry", text, keeper)
