"""Frozen dataclasses to JSON and back; the one place where the form of the data has a version.

Unknown keys are ignored and missing ones take their default, so that a file of an older memdoctor reads; a file of a
newer one is refused, because a figure read wrongly is worse than none.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from typing import Any, TypeVar

from memdoctor.foundation.errors import UnreadableRun

VERSION = 1
"""Raised when a reader of the old form would misread the new one."""

_Record = TypeVar("_Record")


def dump(record: Any) -> dict[str, Any]:
    """The record as a JSON object whose first key is `version`."""
    return {"version": VERSION, **plain(record)}


def load(kind: type[_Record], data: Any) -> _Record:
    """The record that `dump` wrote. Raises `UnreadableRun` if it is newer, or is not such a record."""
    check_version(data.get("version") if isinstance(data, dict) else None)
    return rebuild(kind, data)


def check_version(version: object) -> None:
    """Raise `UnreadableRun` unless this memdoctor can read that version."""
    if not isinstance(version, int) or version < 1:
        raise UnreadableRun(
            "This is not a memdoctor recording: it has no version.",
            "Record one: memdoctor run --output run.mdoc train.py",
        )
    if version > VERSION:
        raise UnreadableRun(
            f"The recording has version {version}; this memdoctor reads up to {VERSION}.",
            "Update it: pip install -U torch-memdoctor",
        )


def plain(value: Any) -> Any:
    """Dataclasses and named tuples to dictionaries, enums to their values, tuples to lists; the rest unchanged."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def rebuild(kind: type[_Record], data: Any) -> _Record:
    """The inverse of `plain`, without a version. Raises `UnreadableRun` where the data does not fit."""
    try:
        return typing.cast(_Record, _rebuild(kind, data))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        found = f"The recording holds no usable {kind.__name__}: {error}."
        raise UnreadableRun(found, "Record the run again.") from error


def _rebuild(kind: Any, data: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _rebuild(_without_none(kind), data)
    if origin is tuple:
        return _rebuild_tuple(typing.get_args(kind), data)
    if origin is dict:
        key_kind, item_kind = typing.get_args(kind)
        return {key_kind(key): _rebuild(item_kind, item) for key, item in data.items()}
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return _rebuild_record(kind, data)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(data)
    return _checked(kind, data)


def _rebuild_record(kind: Any, data: Any) -> Any:
    hints = _hints(kind)
    return kind(**{name: _rebuild(hints[name], item) for name, item in data.items() if name in hints})


def _rebuild_tuple(kinds: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_rebuild(kinds[0], item) for item in data)
    return tuple(_rebuild(kind, item) for kind, item in zip(kinds, data, strict=True))


def _without_none(union: Any) -> Any:
    return next(kind for kind in typing.get_args(union) if kind is not type(None))


def _checked(kind: Any, data: Any) -> Any:
    if kind is float and isinstance(data, int):
        return float(data)
    if isinstance(kind, type) and not isinstance(data, kind):
        raise TypeError(f"{data!r} is not {kind.__name__}")
    return data


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
