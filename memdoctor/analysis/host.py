"""What the host's side of a run shows: data sets that workers copy, queues that do not fit, files left open, growth.

Each finding needs both the measured growth and its cause, or a figure that cannot be right; else there is silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.foundation.host import HostReading, LoaderReading
from memdoctor.foundation.units import MIB, format_bytes

_FEW_READINGS = 4
_LEAST_COPIED_BYTES = 16 * MIB
_LEAST_FILES = 100
_QUARTERS = 4
_LEAST_GROWTH_BYTES = 128 * MIB
_LEAST_GROWTH = 0.1
_EVEN = 2.0
"""The largest rise from one quarter of a run to the next, in terms of the smallest, that is still steady growth."""

_NO_FILE_LEFT = ("Too many open files", "received 0 items of ancdata")
_SENT_TENSORS = Advice(
    "Keep no tensor that a data loader's worker has sent: each keeps a file open (`.clone()` it); or "
    '`torch.multiprocessing.set_sharing_strategy("file_system")`.', Applicability.MANUAL,
)


def host_findings(
    readings: Sequence[HostReading], loaders: Sequence[LoaderReading], message: str, *, is_leak: bool
) -> tuple[Finding, ...]:
    """`message` is the text of the error that ended the run; of a leak, what it takes of the host is no news."""
    found = [*_copied_by_workers(readings, loaders), *_queues(loaders), *_shm_full(readings, loaders, message)]
    found += list(_no_file_left(readings, loaders, message)) or _open_files(readings)
    return tuple(found if found or is_leak else _growth(readings))


def _copied_by_workers(readings: Sequence[HostReading], loaders: Sequence[LoaderReading]) -> Iterator[Finding]:
    """Private pages of the same workers grow by what they no longer share, and the data set is made of objects."""
    loader = max(loaders, key=lambda each: each.object_count, default=None)
    same = _with_the_same_workers(readings)
    if loader is None or not loader.objects or len(same) < _FEW_READINGS:
        return
    private = [sum(worker.private_bytes for worker in reading.workers) for reading in same]
    shared = [sum(worker.shared_bytes for worker in reading.workers) for reading in same]
    copied_bytes = min(private[-1] - private[0], shared[0] - shared[-1])
    if copied_bytes < _LEAST_COPIED_BYTES or private != sorted(private):
        return
    yield Finding(
        code="MD502",
        name="worker-copies-dataset",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        message=(
            f"{loader.objects} has {loader.object_count:,} Python objects. Reading one writes its reference count, and "
            f"so copies the page that it lies on: {len(same[-1].workers)} workers have copied "
            f"{format_bytes(copied_bytes)} of host memory from iteration {same[0].step} to {same[-1].step}."
        ),
        location=loader.location,
        variable=loader.objects,
        advice=Advice(
            f"Put what is in {loader.objects} into one array (`numpy.array`, `torch.tensor`, Arrow), whose elements "
            "have no reference counts.", Applicability.MANUAL,
        ),
    )


def _with_the_same_workers(readings: Sequence[HostReading]) -> list[HostReading]:
    """The longest stretch in which no worker came or went."""
    stretches: list[list[HostReading]] = []
    before: set[int] = set()
    for reading in readings:
        pids = {worker.pid for worker in reading.workers}
        if not stretches or pids != before:
            stretches.append([])
        stretches[-1].append(reading)
        before = pids
    return max((each for each in stretches if each[0].workers), key=len, default=[])


def _queues(loaders: Sequence[LoaderReading]) -> Iterator[Finding]:
    """What the workers prepare ahead is more than the shared memory that was free, or than the machine may use."""
    for loader in loaders:
        rooms = {"/dev/shm has": loader.shm_free_bytes, "this process may use": loader.memory_limit_bytes}
        known = {what: room_bytes for what, room_bytes in rooms.items() if room_bytes is not None}
        what, room_bytes = min(known.items(), key=lambda item: item[1], default=("", None))
        if room_bytes is not None and loader.queue_bytes > room_bytes:
            yield _queue(loader, f"{what} {format_bytes(room_bytes)}", room_bytes)


def _queue(loader: LoaderReading, room: str, room_bytes: int) -> Finding:
    fitting = room_bytes // max(1, loader.workers * loader.batch_bytes)
    advice = f"prefetch_factor={fitting}" if fitting else "fewer workers, smaller batches"
    return Finding(
        code="MD503",
        name="loader-queue-exceeds-memory",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH,
        message=(
            f"{loader.workers} workers x {loader.prefetch_factor} batches ahead x {format_bytes(loader.batch_bytes)} "
            f"are {format_bytes(loader.queue_bytes)} of shared memory once all are busy; {room}."
        ),
        location=loader.location,
        advice=Advice(f"{advice[0].upper()}{advice[1:]}; in a container also --shm-size.", Applicability.MANUAL),
        cost_bytes=None,
    )


def _shm_full(
    readings: Sequence[HostReading], loaders: Sequence[LoaderReading], message: str
) -> Iterator[Finding]:
    """A worker that cannot write to shared memory dies of a bus error, which PyTorch puts in these words."""
    is_about_shm = "out of shared memory" in message or "unable to mmap" in message or "Bus error" in message
    total_bytes = readings[-1].shm_total_bytes if readings else None
    if not is_about_shm or total_bytes is None:
        return
    used = f", of which {format_bytes(readings[-1].shm_used_bytes or 0)} are in use" if readings else ""
    yield Finding(
        code="MD503",
        name="loader-queue-exceeds-memory",
        severity=Severity.ERROR,
        confidence=Confidence.HIGH,
        message=f"A worker of a data loader found no room in /dev/shm: it has {format_bytes(total_bytes)}{used}.",
        location=loaders[-1].location if loaders else None,
        advice=Advice(
            "Give the container more (docker run --shm-size=8g, or --ipc=host), or let fewer workers prepare fewer "
            "batches ahead (num_workers, prefetch_factor).", Applicability.MANUAL,
        ),
    )


def _no_file_left(
    readings: Sequence[HostReading], loaders: Sequence[LoaderReading], message: str
) -> Iterator[Finding]:
    """A process that cannot open one more file cannot receive a batch; PyTorch says it in these two ways."""
    if not any(words in message for words in _NO_FILE_LEFT):
        return
    limit = readings[-1].open_files_limit if readings else None
    allowed = f" ({limit:,} are allowed)" if limit is not None else ""
    yield Finding(
        code="MD504",
        name="open-files-grow",
        severity=Severity.ERROR,
        confidence=Confidence.HIGH,
        message=f"No file more could be opened{allowed}: each tensor that a worker sends keeps one open as it lives.",
        location=loaders[-1].location if loaders else None,
        advice=_SENT_TENSORS,
    )


def _open_files(readings: Sequence[HostReading]) -> Iterator[Finding]:
    """They rise from reading to reading, but for the last, which comes when all is over, to half of what is allowed."""
    readings = [reading for reading in readings if reading.open_files is not None][:-1]
    counts = [reading.open_files or 0 for reading in readings]
    limit = readings[-1].open_files_limit if readings else None
    if limit is None or len(counts) < _FEW_READINGS or any(a >= b for a, b in zip(counts, counts[1:])):
        return
    rise = counts[-1] - counts[0]
    if rise < _LEAST_FILES or counts[-1] < limit / 2:
        return
    steps = max(1, readings[-1].step - readings[0].step)
    left = round((limit - counts[-1]) * steps / rise)
    yield Finding(
        code="MD504",
        name="open-files-grow",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH,
        message=(
            f"{counts[-1]:,} files are open, {rise:,} more than at iteration {readings[0].step}; {limit:,} are allowed,"
            f" which is reached in some {left:,} iterations."
        ),
        location=None,
        advice=_SENT_TENSORS,
    )


def _growth(readings: Sequence[HostReading]) -> Iterator[Finding]:
    """Steady over all four quarters of the run, and a good part of what there was."""
    sizes = [reading.proportional_bytes or reading.resident_bytes for reading in readings]
    means = _means(sizes)
    rises = [after - before for before, after in zip(means, means[1:])]
    if not rises or min(rises) <= 0 or max(rises) > _EVEN * min(rises):
        return
    grown_bytes = sizes[-1] - sizes[0]
    if grown_bytes < max(_LEAST_GROWTH_BYTES, _LEAST_GROWTH * sizes[0]):
        return
    steps = max(1, readings[-1].step - readings[0].step)
    yield Finding(
        code="MD505",
        name="host-memory-grows",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        message=(
            f"The program's {readings[-1].processes} processes take {format_bytes(sizes[-1])} of host memory, "
            f"{format_bytes(grown_bytes)} more than at iteration {readings[0].step}: about "
            f"{format_bytes(grown_bytes // steps)} an iteration, all along."
        ).replace("The program's 1 processes take", "The program takes"),
        location=None,
        advice=Advice("Look for lists, caches and logs that get longer; tensors are not it.", Applicability.MANUAL),
    )


def _means(sizes: Sequence[int]) -> list[int]:
    """Of each quarter; none where a quarter would have too few readings."""
    length = len(sizes) // _QUARTERS
    if length < _FEW_READINGS:
        return []
    quarters = (sizes[at * length:(at + 1) * length] for at in range(_QUARTERS))
    return [sum(quarter) // length for quarter in quarters]
