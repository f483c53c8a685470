"""Finds out why a PyTorch program runs out of GPU memory, shows the variable and the line, and proves the fix.

Nothing happens at import: each public name is loaded on first use (PEP 562), so that `scan` never pays for torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "auto_batch_size": "memdoctor.batch_size",
    "find_batch_size": "memdoctor.batch_size",
    "gpus": "memdoctor.gpus",
    "profile": "memdoctor.profile",
    "read_run": "memdoctor.report",
    "scan": "memdoctor.scan",
    "track": "memdoctor.profile",
    "virtual_gpu": "memdoctor.virtual.gpu",
    "watch": "memdoctor.profile",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memdoctor' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
