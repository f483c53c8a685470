"""The recording of a run: JSON lines in a `.mdoc` file, each written as soon as it is known.

The first line is the header with the version; each further line is an object with one key that says what it holds.
A line reaches the operating system at once, so that a killed process leaves all its whole lines behind; a line cut in
two at the end is left out when the file is read. The file gets every iteration; of a long run the process itself keeps
`MOST_READINGS`, so that watching takes no more memory the longer it lasts. It keeps them as the lines that they are in
the file: bytes are nothing to the collector, which would run more often for each object that an iteration leaves.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

from memdoctor.foundation.breakdown import Breakdown, Crash, IterationBreakdown, Refused
from memdoctor.foundation.errors import BadInput, MemdoctorError, UnreadableRun
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.host import CacheUse, HostReading, LoaderReading
from memdoctor.foundation.looks import Look
from memdoctor.foundation.phases import PhaseReading
from memdoctor.foundation.readings import MemoryReading, Timeline, thinned
from memdoctor.foundation.records import dump, load, plain, rebuild
from memdoctor.foundation.runs import CUT_OFF, Run, RunEnd, RunHeader, Verdict

Record = (
    MemoryReading | Look | Skipped | RunEnd | Verdict | Breakdown | Crash | HostReading | LoaderReading | CacheUse
    | PhaseReading | IterationBreakdown | Refused
)

_KINDS: dict[str, type] = {
    "reading": MemoryReading,
    "look": Look,
    "skipped": Skipped,
    "end": RunEnd,
    "verdict": Verdict,
    "peak_breakdown": Breakdown,
    "crash": Crash,
    "refused": Refused,
    "host": HostReading,
    "loader": LoaderReading,
    "cache": CacheUse,
    "phase": PhaseReading,
    "iteration_breakdown": IterationBreakdown,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_NEXT_STEP = "Name a file that `memdoctor run --output` wrote."
_COLUMNS = list(MemoryReading._fields)
_READING = '{"reading":[%d,"%s",%s,%d,%d,%d,%d,%d,%s]}\n'
"""Columns without names, by hand: there is one for each iteration, and `json.dumps` takes eight times as long."""
MOST_READINGS = 8192


class Recording:
    """Keeps what a run shows, and appends it to a file if there is one; a full disk ends the file, not the run."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises `BadInput` if the file cannot be written, before anything has run."""
        self._header: RunHeader | None = None
        self._readings: list[bytes] = []
        self._allocated = array("q")
        """Bytes allocated at each of them."""
        self._records: list[Record] = []
        """All but the readings."""
        self._file = _open(path) if path is not None else None

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def begin(self, header: RunHeader) -> None:
        """The header comes once the device is known, and before any record."""
        self._header = header
        self._write(_json({**dump(header), "columns": _COLUMNS}))
        for line in (*map(_line, self._records), *self._readings):
            self._write(line)

    @property
    def has_begun(self) -> bool:
        """Whether it has its header."""
        return self._header is not None

    def add(self, record: Record) -> None:
        """Keep the record; it is in the file when this returns."""
        if isinstance(record, MemoryReading):
            line = _reading_line(record)
            self._keep(line, record.allocated_bytes)
        else:
            line = _line(record)
            if not isinstance(record, Refused):  # what is kept of them is in how the run ended
                self._records.append(record)
        if self._header is not None:
            self._write(line)

    def leave_file(self) -> None:
        """For a forked child: the file is its parent's."""
        self._file = None

    def run(self) -> Run:
        """Everything so far; needs the header."""
        if self._header is None:
            raise MemdoctorError("The recording has no header yet.")
        readings = (MemoryReading(*json.loads(line)["reading"]) for line in self._readings)
        return _assemble(self._header, readings, self._records)

    def _keep(self, line: bytes, allocated_bytes: int) -> None:
        self._readings.append(line)
        self._allocated.append(allocated_bytes)
        if len(self._readings) > MOST_READINGS:
            kept = thinned(range(len(self._readings)), MOST_READINGS // 2, self._allocated.__getitem__)
            self._readings = [self._readings[each] for each in kept]
            self._allocated = array("q", [self._allocated[each] for each in kept])

    def _write(self, rest: bytes) -> None:
        if self._file is None:
            return
        try:
            while rest:  # a disk that is almost full takes a part of it
                rest = rest[self._file.write(rest):]
        except OSError as error:
            self._file.close()
            self._file = None
            self._records.append(Skipped("the rest of the recording", f"it could not be written: {error.strerror}"))


def read_recording(source: Path | BinaryIO) -> Run:
    """Read a `.mdoc` file, up to its last whole line. Raises `UnreadableRun` if it is none, or of a newer memdoctor."""
    header, records = _contents(source)
    return _assemble(header, _readings(records), records)


def thin(source: Path | BinaryIO, target: Path, most: int) -> None:
    """Copy a recording with at most so many of its iterations, and everything else.

    Raises `UnreadableRun` as `read_recording` does, and `BadInput` if the copy cannot be written.
    """
    header, records = _contents(source)
    others = (record for record in records if not isinstance(record, MemoryReading))
    with Recording(target) as copy:
        copy.begin(header)
        readings = thinned(_readings(records), most, lambda reading: reading.allocated_bytes)
        for record in (*readings, *others):
            copy.add(record)


def _contents(source: Path | BinaryIO) -> tuple[RunHeader, list[Record]]:
    name = str(source) if isinstance(source, Path) else "standard input"
    lines = _read(source, name).split(b"\n")
    if not lines[0]:
        raise UnreadableRun(f"{name} is empty: the program ended before its first iteration.", _NEXT_STEP)
    header_line = _object(lines[0])
    columns = header_line.get("columns", _COLUMNS)
    return load(RunHeader, header_line), list(_records(lines[1:], columns))


def _readings(records: Iterable[Record]) -> list[MemoryReading]:
    return [record for record in records if isinstance(record, MemoryReading)]


def _read(source: Path | BinaryIO, name: str) -> bytes:
    try:
        return source.read_bytes() if isinstance(source, Path) else source.read()
    except OSError as error:
        raise UnreadableRun(f"{name} cannot be read: {error.strerror}.", _NEXT_STEP) from error


def _open(path: Path) -> BinaryIO:
    try:
        return open(path, "wb", buffering=0)  # unbuffered: a line must survive the death of this process
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}.", "Name another file with --output.") from error


def _line(record: Record) -> bytes:
    return _json({_NAMES[type(record)]: plain(record)})


def _reading_line(reading: MemoryReading) -> bytes:
    *known, percent = reading
    return (_READING % (*known, "null" if percent is None else percent)).encode()


def _json(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _records(lines: list[bytes], columns: list[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, start=2):
        try:
            yield from _record(_object(line), columns)
        except UnreadableRun:
            if number <= len(lines):
                yield Skipped("the rest of the recording", f"line {number} is damaged")
            return


def _record(line: dict[str, Any], columns: list[str]) -> Iterator[Record]:
    for name, value in line.items():
        if name == "reading" and isinstance(value, list):
            value = dict(zip(columns, value))
        if name in _KINDS:  # a kind that an older memdoctor does not know is left out
            yield rebuild(_KINDS[name], value)


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UnreadableRun("This is not a memdoctor recording: a line is not JSON.", _NEXT_STEP) from error
    if not isinstance(value, dict):
        raise UnreadableRun("This is not a memdoctor recording: a line is not an object.", _NEXT_STEP)
    return value


def _assemble(header: RunHeader, readings: Iterable[MemoryReading], records: Sequence[Record]) -> Run:
    return Run(
        header=header,
        timeline=Timeline(tuple(readings)),
        looks=tuple(record for record in records if isinstance(record, Look)),
        skipped=tuple(record for record in records if isinstance(record, Skipped)),
        end=_only(RunEnd, records) or RunEnd(CUT_OFF),
        verdict=_only(Verdict, records),
        peak_breakdown=_only(Breakdown, records),
        crash=_only(Crash, records) or _unfinished(records),
        host=tuple(record for record in records if isinstance(record, HostReading)),
        loaders=tuple(record for record in records if isinstance(record, LoaderReading)),
        cache=_only(CacheUse, records),
        iteration_breakdown=_only(IterationBreakdown, records),
        phases=tuple(record for record in records if isinstance(record, PhaseReading)),
    )


def _unfinished(records: Sequence[Record]) -> Crash | None:
    """Of a process that was killed while it was running out of memory: the last that it recorded is a refusal."""
    last = next((record for record in reversed(records) if not isinstance(record, Look)), None)
    return last.crash if isinstance(last, Refused) else None


_Kind = TypeVar("_Kind")


def _only(kind: type[_Kind], records: Iterable[object]) -> _Kind | None:
    return next((record for record in records if isinstance(record, kind)), None)
