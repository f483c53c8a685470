"""Which files a scan reads: what was named, and in folders Python files and notebooks.

In folders are left out, silently: what `.gitignore` files, `--exclude` or the settings name, folders of version control
and caches, installed and vendored packages, and virtual environments (a folder that holds `pyvenv.cfg`). Links to
folders are not followed. What was named itself is always read.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Skipped
from memdoctor.scanning.ignore_patterns import FILE_NAME, Pattern, is_ignored, patterns_above, patterns_in

STANDARD_INPUT = "-"
NOTEBOOK_SUFFIX = ".ipynb"
_SUFFIXES = (".py", NOTEBOOK_SUFFIX)
_LEFT_OUT = frozenset(
    ".git .hg .svn .tox .nox .eggs .mypy_cache .pytest_cache .ruff_cache .memdoctor_cache .ipynb_checkpoints"
    " __pycache__ node_modules site-packages dist-packages _vendor vendor vendored third_party 3rdparty".split()
)


def files_of(paths: Iterable[str], excluded_in: Callable[[str], Sequence[Pattern]]) -> Iterator[str | Skipped]:
    """Files in order, as they were named, and folders that cannot be listed.

    `excluded_in` gives the patterns to leave out in an absolute folder. Raises `BadInput` for a path that does not
    exist.
    """
    for path in paths:
        if path == STANDARD_INPUT:
            yield path
        elif os.path.isdir(path):
            yield from _in_folder(path, excluded_in)
        elif os.path.lexists(path):
            yield path
        else:
            yield from _in_glob(path, excluded_in)


def _in_glob(pattern: str, excluded_in: Callable[[str], Sequence[Pattern]]) -> Iterator[str | Skipped]:
    matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    if not matches:
        next_step = "Name a Python file, a notebook, a folder, a glob, or - for standard input."
        raise BadInput(f"{pattern}: no such file or folder.", next_step)
    for match in matches:
        if os.path.isdir(match):
            yield from _in_folder(match, excluded_in)
        elif not _is_excluded(os.path.abspath(match), excluded_in):
            yield match


def _is_excluded(path: str, excluded_in: Callable[[str], Sequence[Pattern]]) -> bool:
    return is_ignored(excluded_in(os.path.dirname(path)), path, is_folder=False)


def _in_folder(folder: str, excluded_in: Callable[[str], Sequence[Pattern]]) -> Iterator[str | Skipped]:
    """What is in it, named as the user would; a folder with nothing to scan is most often the wrong one."""
    found = False
    for item in _walk(folder, excluded_in):
        found = True
        yield item if isinstance(item, Skipped) else item.removeprefix(os.path.join(os.curdir, ""))
    if not found:
        yield Skipped(folder, "no Python file or notebook in it")


def _walk(folder: str, excluded_in: Callable[[str], Sequence[Pattern]]) -> Iterator[str | Skipped]:
    top = os.path.abspath(folder)
    known = {folder: patterns_above(top)}
    unreadable: list[OSError] = []
    for here, folders, files in os.walk(folder, onerror=unreadable.append):
        place = os.path.normpath(os.path.join(top, os.path.relpath(here, folder)))
        patterns = known.pop(here) + (patterns_in(place) if FILE_NAME in files else [])
        rules = [*patterns, *excluded_in(place)]
        folders[:] = [name for name in sorted(folders) if not _is_left_out(here, place, name, rules)]
        known |= {os.path.join(here, name): patterns for name in folders}
        for name in sorted(files):
            if name.endswith(_SUFFIXES) and not is_ignored(rules, os.path.join(place, name), is_folder=False):
                yield os.path.join(here, name)
    yield from (Skipped(str(error.filename), error.strerror or str(error)) for error in unreadable)


def _is_left_out(parent: str, place: str, name: str, rules: Sequence[Pattern]) -> bool:
    if name in _LEFT_OUT or is_ignored(rules, os.path.join(place, name), is_folder=True):
        return True
    return os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))
