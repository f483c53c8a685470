"""What the rules say about one file; whatever is in it, there is an answer and never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from memdoctor.foundation.findings import Finding, Report, Skipped
from memdoctor.rules import ALL_RULES, Rule, Source
from memdoctor.scanning.files import NOTEBOOK_SUFFIX, STANDARD_INPUT
from memdoctor.scanning.reading import Unreadable, decode, read

_SHOWN_STANDARD_INPUT = "<stdin>"


def shown(path: str) -> str:
    """The name of a file in reports."""
    return _SHOWN_STANDARD_INPUT if path == STANDARD_INPUT else path


def scan_file(path: str, rules: Sequence[Rule]) -> Report:
    """All findings, however unsure; a file without the word `torch` has none and is not parsed."""
    try:
        return scan_bytes(shown(path), read(path), rules)
    except Unreadable as error:
        return Report(skipped=(Skipped(shown(path), str(error)),))


def scan_bytes(path: str, data: bytes, rules: Sequence[Rule]) -> Report:
    """The same for what a file of that name holds."""
    if b"torch" not in data:
        return Report()
    try:
        if path.endswith(NOTEBOOK_SUFFIX):
            return _scan_notebook(path, data, rules)
        return Report(tuple(check(Source(path, decode(data)), rules)))
    except Unreadable as error:
        why = str(error)
    except SyntaxError as error:
        why = f"not Python {sys.version_info.major}: {error.msg}, line {error.lineno or 1}"
    except ValueError as error:
        why = f"not Python: {error}"
    except (RecursionError, MemoryError):
        why = "nested too deeply to be parsed"
    except Exception as error:  # a fault of memdoctor in one file must not cost the report on thousands
        why = f"memdoctor failed on it, please report this: {type(error).__name__}: {error}"
    return Report(skipped=(Skipped(path, why),))


def _scan_notebook(path: str, data: bytes, rules: Sequence[Rule]) -> Report:
    from memdoctor.scanning.notebooks import program_of  # json is loaded only where there is a notebook

    program = program_of(path, data)
    found = check(Source(path, program.text), rules)
    return Report(tuple(map(program.in_cell, found)), skipped=program.skipped)


def check(source: Source, rules: Sequence[Rule]) -> list[Finding]:
    """What the rules find and no comment hides; the rule about unused comments is the last of `rules`."""
    if len(rules) < len(ALL_RULES):
        source.ignores.judged = frozenset(rule.code for rule in rules)
    try:
        return [finding for rule in rules for finding in rule.check(source) if not source.ignores.hides(finding)]
    finally:
        source.release()
