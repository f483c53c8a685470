"""Reads the figures in the text of an out-of-memory error of PyTorch's allocator, 1.0 to 2.13.

Sizes in the text are rounded to two digits. What the text does not say is 0.
"""

from __future__ import annotations

import re

from memdoctor.foundation.breakdown import Crash
from memdoctor.foundation.readings import ProcessReading
from memdoctor.foundation.units import parse_bytes

_SIZE = r"(\d+(?:\.\d+)? (?:bytes|[KMGT]i?B))"
_REQUEST = (rf"Tried to allocate {_SIZE}", rf"Requested\s*: {_SIZE}")
_TOTAL = (rf"total capac?ity of {_SIZE}", rf"total capacty of {_SIZE}", rf"{_SIZE} total capacity",
          rf"Device limit\s*: {_SIZE}")
_FREE = (rf"of which {_SIZE} is free", rf"{_SIZE} free", rf"Free \(according to CUDA\)\s*: {_SIZE}")
_ALLOCATED = (rf"Of the allocated memory {_SIZE} is allocated", rf"{_SIZE} already allocated",
              rf"Currently allocated\s*: {_SIZE}")
_STRANDED = (rf"and {_SIZE} is reserved by PyTorch but unallocated",)
_RESERVED = (rf"{_SIZE} reserved in total", rf"{_SIZE} cached")
_OWN = (rf"this process has {_SIZE} memory in use",)
_LIMIT = (rf"{_SIZE} allowed;",)
_OTHERS = re.compile(rf"Process (\d+) has {_SIZE} memory in use")


def crash_of(text: str) -> Crash:
    """All that the text says."""
    allocated_bytes, total_bytes, free_bytes = (_first(form, text) for form in (_ALLOCATED, _TOTAL, _FREE))
    stranded_bytes, reserved_bytes = _first(_STRANDED, text), _first(_RESERVED, text)
    return Crash(
        request_bytes=_first(_REQUEST, text),
        allocated_bytes=allocated_bytes,
        reserved_bytes=max(reserved_bytes, allocated_bytes + stranded_bytes),
        free_bytes=free_bytes,
        total_bytes=total_bytes,
        limit_bytes=_first(_LIMIT, text) or None,
        others_bytes=_others_bytes(text, total_bytes, free_bytes),
        processes=tuple(ProcessReading(int(pid), "", parse_bytes(size)) for pid, size in _OTHERS.findall(text)),
    )


def _others_bytes(text: str, total_bytes: int, free_bytes: int) -> int:
    """Named one by one, else what neither is free nor this process's."""
    named_bytes = sum(parse_bytes(size) for _, size in _OTHERS.findall(text))
    own_bytes = _first(_OWN, text)
    return named_bytes or (max(0, total_bytes - free_bytes - own_bytes) if own_bytes else 0)


def _first(forms: tuple[str, ...], text: str) -> int:
    """The first form that the text has; 0 if it has none."""
    found = next((match for form in forms if (match := re.search(form, text))), None)
    return parse_bytes(found[1]) if found else 0
