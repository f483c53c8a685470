"""What the rules say about one file; whatever is in it, there is an answer and never a traceback.

A file without the word `torch` has no findings and is not parsed: of 23 such files that call `backward`, in 7,600 of
public repositories, each was of another framework.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memdoctor.foundation.findings import Finding, Report, Skipped
from memdoctor.rules import ALL_RULES, Rule, Source
from memdoctor.rules._patience import OutOfPatience, check_time, patience
from memdoctor.scanning.files import NOTEBOOK_SUFFIX, STANDARD_INPUT
from memdoctor.scanning.reading import Unreadable, decode, read

MOST_SECONDS = 10.0
"""Of processor time for one file; all of torch, 2,285 files, takes 7."""
_SHOWN_STANDARD_INPUT = "<stdin>"


@dataclass(frozen=True)
class Asked:
    """One file to scan."""

    path: str
    rules: Sequence[Rule]
    is_named: bool = False
    """By the user, who then wants to know if it is not Python at all."""


def shown(path: str) -> str:
    """The name of a file in reports."""
    return _SHOWN_STANDARD_INPUT if path == STANDARD_INPUT else path


def scan_file(asked: Asked) -> Report:
    """All findings, however unsure."""
    path = shown(asked.path)
    try:
        data = read(asked.path)
    except Unreadable as error:
        return Report(skipped=(Skipped(path, str(error)),))
    if b"torch" in data or asked.is_named:
        return scan_bytes(path, data, asked.rules if b"torch" in data else ())
    return Report()


def scan_bytes(path: str, data: bytes, rules: Sequence[Rule]) -> Report:
    """The same for what a file of that name holds; without rules only whether it can be read."""
    try:
        with patience(MOST_SECONDS):
            if path.endswith(NOTEBOOK_SUFFIX):
                return _scan_notebook(path, data, rules)
            return Report(tuple(check(Source(path, decode(data)), rules)))
    except Unreadable as error:
        why = str(error)
    except OutOfPatience:
        why = f"took longer than {MOST_SECONDS:g} s, given up"
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
        return [finding for rule in rules for finding in _found_by(rule, source)]
    finally:
        source.release()


def _found_by(rule: Rule, source: Source) -> Iterator[Finding]:
    check_time()
    return (finding for finding in rule.check(source) if not source.ignores.hides(finding))
