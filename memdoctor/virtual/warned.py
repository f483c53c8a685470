"""Warnings of PyTorch name the program's line, as on a card, and not the function of ours that made the call."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from memdoctor.virtual.patches import Patches
from memdoctor.virtual.values import user_frame

_BETWEEN = (os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep, os.path.join("torch", "overrides.py"))


def patch_warnings(patches: Patches) -> None:
    """One place that every warning passes before it is shown or recorded; C++ looks it up by this name."""
    patches.replace(warnings, "_showwarnmsg", _relocated(getattr(warnings, "_showwarnmsg", None)))


def _relocated(show: Any) -> Callable[[Any], None]:
    def _showwarnmsg(message: Any) -> None:
        if message.filename.startswith(_BETWEEN[0]) or message.filename.endswith(_BETWEEN[1]):
            frame = user_frame(sys._getframe(1))
            if frame is not None:
                message.filename, message.lineno = frame.f_code.co_filename, frame.f_lineno
        show(message)
    return _showwarnmsg
