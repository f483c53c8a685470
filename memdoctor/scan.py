"""Reads Python files and reports what wastes or keeps GPU memory; nothing is imported or run.

A folder is searched for `*.py`. Left out silently, by convention: folders of version control and caches, and virtual
environments (a folder that holds `pyvenv.cfg`); links to folders are not followed. A file that does not contain the
word `torch` is not parsed, so that thousands of files take seconds.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import io
import os
import stat
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Confidence, Finding, Report, Skipped
from memdoctor.foundation.units import MIB, format_bytes
from memdoctor.rules import ALL_RULES, Rule, Source, find_rule

LARGEST_FILE_BYTES = 10 * MIB
"""Larger Python files are data."""

STANDARD_INPUT = "-"
_SHOWN_STANDARD_INPUT = "<stdin>"
_LEFT_OUT = frozenset(
    ".git .hg .svn .tox .nox .eggs .mypy_cache .pytest_cache .ipynb_checkpoints __pycache__ node_modules".split()
)
_FILES_BETWEEN_COLLECTIONS = 50


def scan(
    paths: Sequence[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    min_confidence: Confidence = Confidence.MEDIUM,
) -> Report:
    """Scan files, folders, globs, and standard input for `-`.

    `select` and `ignore` take codes or names of rules; an empty `select` is all rules. Findings that are less sure than
    `min_confidence` are counted as hidden. Raises `BadInput` for a path that does not exist, `UnknownRule`.
    """
    rules = _chosen(select, ignore)
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    with _collector_paused() as tidy:
        for path in dict.fromkeys(_files([os.fspath(path) for path in paths], skipped)):
            found = _scan_file(path, rules)
            if isinstance(found, Skipped):
                skipped.append(found)
            else:
                findings += found
            tidy()
    shown = [finding for finding in findings if finding.confidence.rank <= min_confidence.rank]
    return Report(tuple(sorted(shown, key=_place)), len(findings) - len(shown), tuple(skipped))


def _chosen(select: Iterable[str], ignore: Iterable[str]) -> list[Rule]:
    ignored = {find_rule(text) for text in ignore}
    return [rule for rule in [find_rule(text) for text in select] or ALL_RULES if rule not in ignored]


def _place(finding: Finding) -> tuple[str, int, int, str]:
    where = finding.location
    return (where.path, where.line, where.column, finding.code) if where else ("", 0, 0, finding.code)


@contextlib.contextmanager
def _collector_paused() -> Iterator[Callable[[], None]]:
    """Parsing makes only live objects; walking them again and again would cost the collector more than the parsing.

    What is yielded is called after each file, and collects now and then: without it thousands of trees would stay.
    """
    was_on = gc.isenabled()
    gc.disable()
    seen = 0

    def tidy() -> None:
        nonlocal seen
        seen += 1
        if seen % _FILES_BETWEEN_COLLECTIONS == 0:
            gc.collect()

    try:
        yield tidy
    finally:
        if was_on:
            gc.enable()


def _files(paths: Iterable[str], skipped: list[Skipped]) -> Iterator[str]:
    for path in paths:
        if path == STANDARD_INPUT:
            yield path
        elif os.path.isdir(path):
            yield from _in_folder(path, skipped)
        elif os.path.lexists(path):
            yield path
        else:
            yield from _in_glob(path, skipped)


def _in_glob(pattern: str, skipped: list[Skipped]) -> Iterator[str]:
    matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    if not matches:
        next_step = "Name a Python file, a folder, a glob, or - for standard input."
        raise BadInput(f"{pattern}: no such file or folder.", next_step)
    for match in matches:
        if os.path.isdir(match):
            yield from _in_folder(match, skipped)
        else:
            yield match


def _in_folder(folder: str, skipped: list[Skipped]) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), _reason(error)))

    for here, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not _is_left_out(here, name))
        yield from (os.path.join(here, name) for name in sorted(files) if name.endswith(".py"))


def _is_left_out(parent: str, name: str) -> bool:
    return name in _LEFT_OUT or os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))


def _scan_file(path: str, rules: Sequence[Rule]) -> list[Finding] | Skipped:
    shown = _SHOWN_STANDARD_INPUT if path == STANDARD_INPUT else path
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else _read(path)
        if isinstance(data, str):
            return Skipped(shown, data)
        return _check(Source(shown, _decode(data)), rules) if b"torch" in data else []
    except OSError as error:
        return Skipped(shown, _reason(error))
    except UnicodeDecodeError as error:
        return Skipped(shown, f"not {error.encoding} text: byte {error.object[error.start]:#04x} at {error.start}")
    except SyntaxError as error:
        return Skipped(shown, f"not Python {sys.version_info.major}: {error.msg}, line {error.lineno or 1}")
    except ValueError as error:
        return Skipped(shown, f"not Python: {error}")
    except (RecursionError, MemoryError):
        return Skipped(shown, "nested too deeply to be parsed")
    except Exception as error:  # a fault of memdoctor in one file must not cost the report on thousands
        return Skipped(shown, f"memdoctor failed on it, please report this: {type(error).__name__}: {error}")


def _read(path: str) -> bytes | str:
    """The bytes of a file, or the reason to leave it out. Pipes and devices are never opened: they may not end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_size > LARGEST_FILE_BYTES:
        return f"{format_bytes(status.st_size)}, larger than {format_bytes(LARGEST_FILE_BYTES)}"
    if path.endswith(".ipynb"):
        return "a notebook; only Python files are read"
    with open(path, "rb") as stream:
        return stream.read()


def _decode(data: bytes) -> str:
    """As Python reads source: byte order mark, coding cookie, else UTF-8; all line ends become newlines."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return io.IncrementalNewlineDecoder(None, translate=True).decode(data.decode(encoding), final=True)


def _check(source: Source, rules: Iterable[Rule]) -> list[Finding]:
    return [finding for rule in rules for finding in rule.check(source) if not _is_ignored(source, finding)]


def _is_ignored(source: Source, finding: Finding) -> bool:
    if finding.location is None:
        return False
    codes = source.ignored_codes(finding.location.line, finding.location.end_line or finding.location.line)
    return finding.code in codes or "*" in codes


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
