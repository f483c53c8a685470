"""Tells the user's own source files from the standard library, installed packages and memdoctor itself."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import sysconfig
import threading
import types
from pathlib import Path
from types import FrameType

from memdoctor.foundation.locations import Location, shown_path

_OWN_FOLDER = str(Path(__file__).resolve().parent.parent)
_FREE_FORM = (types.SimpleNamespace, types.ModuleType, argparse.Namespace, threading.local, types.FunctionType)
"""Classes of the standard library whose attributes are the user's."""
_INSTALLED = ("site-packages", "dist-packages")


@functools.cache
def is_user_file(filename: str) -> bool:
    """True for what the user wrote, including notebook cells and `python -c`."""
    if filename.startswith("<"):
        return not filename.startswith("<frozen")
    path = os.path.abspath(filename)
    if any(part in _INSTALLED for part in Path(path).parts):
        return False
    return not path.startswith((_OWN_FOLDER + os.sep, *_library_folders()))


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(paths[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def calling_line(frame: FrameType | None) -> Location | None:
    """The innermost line of the user's among this frame and those that called it; None if there is none."""
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return Location(shown_path(frame.f_code.co_filename), frame.f_lineno)
        frame = frame.f_back
    return None


def class_file(kind: type) -> str | None:
    """The user's file that defines the class, None for anybody else's class."""
    return module_file(getattr(kind, "__module__", None))


def is_library_detail(kind: type) -> bool:
    """True if users do not write the attributes of such objects: `queue.Queue` holds its items in one of its own."""
    from_standard_library = kind.__module__.partition(".")[0] in sys.stdlib_module_names
    return from_standard_library and class_file(kind) is None and not issubclass(kind, _FREE_FORM)


def module_file(name: object) -> str | None:
    """The user's file behind a module name; a program without a file (`python -c`, a notebook) is `<NAME>`."""
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None:
        return None
    filename = vars(module).get("__file__")
    if not isinstance(filename, str):
        return f"<{name}>" if name == "__main__" else None
    return filename if is_user_file(filename) else None
