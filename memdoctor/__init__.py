"""Finds out why a PyTorch program runs out of GPU memory, and shows the variable and the line.

Nothing happens at import: each public name is loaded on first use (PEP 562), so that `scan` never pays for torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "auto_batch_size": "memdoctor.auto_batch_size",
    "explain": "memdoctor.explain",
    "find_batch_size": "memdoctor.batch_size",
    "gpus": "memdoctor.gpus",
    "profile": "memdoctor.profile",
    "read_run": "memdoctor.report",
    "scan": "memdoctor.scan",
    "sweep": "memdoctor.sweep",
    "track": "memdoctor.profile",
    "virtual_gpu": "memdoctor.virtual.gpu",
    "watch": "memdoctor.profile",
    "which_cards": "memdoctor.which_cards",
    "worst_batch": "memdoctor.worst_batch",
}
__all__ = ["__version__", *_HOMES]


class _Package(ModuleType):
    """Lets `memdoctor.scan` be the function although `memdoctor/scan.py` is a file.

    Importing a submodule binds it as an attribute of its package; for a public name its function is bound instead.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        is_home = isinstance(value, ModuleType) and _HOMES.get(name) == value.__name__
        super().__setattr__(name, getattr(value, name) if is_home else value)

    def __dir__(self) -> list[str]:
        return sorted(__all__)


sys.modules[__name__].__class__ = _Package
