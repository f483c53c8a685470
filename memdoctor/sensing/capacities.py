"""How many elements a container may have at most, where the program has said so before the container is full.

A buffer that fills looks like a leak until it is full. What bounds it can be read: `deque(maxlen=...)`, the `maxsize`
of a cache or a queue, a list made with all its slots, an attribute such as `capacity` beside the container.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from typing import Any

from memdoctor.foundation.looks import UNLIMITED
from memdoctor.sensing.edges import attributes

_CACHED_FUNCTION = type(functools.lru_cache(len))
_CONTAINERS = (list, dict, set, deque)
_SAYS_HOW_MANY = re.compile(
    "_*(capacity|maxlen|limit|max_?size|max_?len(gth)?|max_?(items|entries|elements|history|capacity)"
    "|(pool|buffer|memory|replay|cache|queue|bank|history)_?(size|capacity|limit|len(gth)?))",
    re.IGNORECASE,
)
"""Names that people give to such a number; a batch size, a width or a number of epochs bounds no container."""


def capacity_of(value: Any, owner: Any) -> int:
    """Most elements of `value`, an attribute of `owner` or a variable without one; see `Piece.capacity`."""
    cache = next((each for each in (owner, value) if type(each) is _CACHED_FUNCTION), None)
    if cache is not None:
        return cache.cache_info().maxsize or 0
    kind = next((each for each in _CONTAINERS if issubclass(type(value), each)), None)
    if kind is None:
        return 0
    size = kind.__len__(value)
    if kind is deque and value.maxlen is not None:
        return int(value.maxlen)
    if kind is list and any(element is None for element in list.__iter__(value)):
        return size
    said = [number for each in (value, owner) for number in _said_by(each)]
    return next((number for number in said if number >= size), UNLIMITED if UNLIMITED in said else 0)


def _said_by(owner: object) -> list[int]:
    """`maxsize=None`, or 0 in a queue, says that there is no limit, though the code asks for one."""
    if owner is None or type(owner) in _CONTAINERS:
        return []
    named = [value for name, value in attributes(owner) if _SAYS_HOW_MANY.fullmatch(name)]
    numbers = [value for value in named if type(value) is int and value > 0]
    return numbers or [UNLIMITED for value in named if value is None or value == 0]
