"""Repairs what a scan finds, where a tool can: plans each file's fix, proves it, and writes only what was proven."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Applicability, Skipped
from memdoctor.scanning.files import STANDARD_INPUT
from memdoctor.scanning.fixes import Fix, diff_of, fix_of, write
from memdoctor.scanning.questions import Questions
from memdoctor.scanning.reading import Unreadable, read

__all__ = ["Fix", "diff_of", "fixes"]


def fixes(
    paths: Sequence[str | os.PathLike[str]], questions: Questions, *, unsafe: bool, dry_run: bool,
) -> Iterator[Fix | Skipped]:
    """Each file that was fixed, or would be in a dry run, and each that had to be left alone.

    Safe fixes compute the same; `unsafe` adds those that may change what the program does. Files that cannot be read
    are left to the scan to report. Raises `BadInput` for standard input, before anything is written.
    """
    if STANDARD_INPUT in paths:
        raise BadInput("Standard input cannot be repaired in place.", "Name the file, or scan - without a fix.")
    allowed = {Applicability.SAFE, Applicability.UNSAFE} if unsafe else {Applicability.SAFE}
    for path in list(questions.files_in(paths)):
        if isinstance(path, Skipped):
            continue
        try:
            data = read(path)
        except Unreadable:
            continue
        try:
            fix = fix_of(path, data, *questions.about(path), allowed)
            if fix is not None and not dry_run:
                write(fix)
        except Unreadable as error:
            yield Skipped(path, str(error))
        else:
            yield from [fix] if fix is not None else []
