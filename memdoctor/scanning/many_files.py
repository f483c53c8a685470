"""The rules about many files, in this process or in several; the reports come in the order of the files."""

from __future__ import annotations

import contextlib
import gc
import importlib
import signal
from collections.abc import Iterator, Sequence

from memdoctor.foundation.errors import MemdoctorError
from memdoctor.foundation.findings import Report
from memdoctor.scanning.one_file import Asked, scan_file

_BATCH = 25
"""Files between two messages of a process."""
_WORTH_PROCESSES = 100
"""With fewer files, starting processes costs more than they save."""


def scan_files(asked: Sequence[Asked], processes: int) -> Iterator[Report]:
    """One report for each file.

    More than one process are forked, so that no program is run again: only for a caller without threads of its own.
    """
    batches = [asked[start:start + _BATCH] for start in range(0, len(asked), _BATCH)]
    if processes == 1 or len(asked) < _WORTH_PROCESSES:
        for batch in batches:
            yield from _scan_batch(batch)
        return
    futures = importlib.import_module("concurrent.futures")
    multiprocessing = importlib.import_module("multiprocessing")
    options = {
        "mp_context": multiprocessing.get_context("fork"),
        "initializer": signal.signal,  # an interrupt of the user is for the first process, which ends the others
        "initargs": (signal.SIGINT, signal.SIG_IGN),
    }
    try:
        with futures.ProcessPoolExecutor(min(processes, len(batches)), **options) as pool:
            for reports in pool.map(_scan_batch, batches):
                yield from reports
    except futures.process.BrokenProcessPool as error:
        raise MemdoctorError("A process of the scan was killed.", "Scan fewer files at a time.") from error


def _scan_batch(batch: Sequence[Asked]) -> list[Report]:
    with _collector_paused():
        return [scan_file(asked) for asked in batch]


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Parsing makes only live objects, and a `Source` that is released no garbage: the collector would look in vain."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
