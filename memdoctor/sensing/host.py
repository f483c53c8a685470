"""How much host memory the process uses, as exactly as the platform can say without a dependency on its version."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from collections.abc import Callable

import psutil


def host_heap_bytes() -> int:
    """Bytes that the process has asked for and not returned.

    glibc counts them (`mallinfo2().uordblks` and `hblkhd`), blind to what its allocator merely keeps; the same figure
    by hand: `malloc_info(0, stdout)`. Elsewhere it is the resident set, which moves in pages and hardly ever falls.
    """
    return _reader()()


@functools.cache
def _reader() -> Callable[[], int]:
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):
        return resident_bytes
    mallinfo2.restype = _Mallinfo2

    def heap_bytes() -> int:
        info = mallinfo2()
        return int(info.uordblks + info.hblkhd)

    return heap_bytes


def resident_bytes() -> int:
    """Resident set of this process. Check by hand: `ps -o rss= -p PID`, in KiB.

    The kernel takes up to 50 microseconds to answer: on Linux one short read, half of what psutil needs.
    """
    try:
        file = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return int(_process(os.getpid()).memory_info().rss)
    try:
        return int(os.read(file, 100).split()[1]) * mmap.PAGESIZE
    finally:
        os.close(file)


@functools.cache
def _process(pid: int) -> psutil.Process:
    """Made once for each process, a forked one included: making it costs twice as much as asking it."""
    return psutil.Process(pid)


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later, <malloc.h>."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]
