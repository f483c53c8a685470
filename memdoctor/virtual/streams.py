"""Streams and events of the virtual card: blocks remember their stream, and time stands still."""

from __future__ import annotations

import abc
import importlib
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch

from memdoctor.virtual.device import invalid_ordinal, number_of
from memdoctor.virtual.ledger import Ledger


_CUDA = 1
"""`c10::DeviceType::CUDA` of c10/core/DeviceType.h."""


_Stream: Any = torch.Stream
_Event: Any = torch.Event


class VirtualEvent(torch.Event):
    """An event that is reached as soon as it is recorded."""

    _card: torch.device

    def __new__(cls, *args: Any, **kwargs: Any) -> VirtualEvent:
        event: VirtualEvent = super().__new__(cls, device="cpu")
        event._card = torch.device("cuda", torch.cuda.current_device())
        return event

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # read-only in torch too; its stubs say otherwise
        return self._card

    @property
    def cuda_event(self) -> int:
        return id(self)

    def ipc_handle(self) -> bytes:
        return bytes(64)

    def record(self, stream: Any = None) -> None:
        if stream is not None:
            self._card = stream.device

    def wait(self, stream: Any = None) -> None: ...

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True

    def elapsed_time(self, end_event: torch.Event) -> float:
        """Milliseconds, always 1.0: nothing is executed, and a rate computed from it stays finite."""
        return 1.0


class VirtualStream(torch.Stream):
    """A stream; the allocator keeps its free blocks apart from those of other streams."""

    _ids = itertools.count(1)

    def __new__(cls, device: Any = None, priority: int = 0, **kwargs: Any) -> VirtualStream:
        """`ExternalStream` is given the number of a stream in place of a device; `priority` changes nothing here."""
        stream_id, number = kwargs.get("stream_id"), kwargs.get("device_index")
        if number is None:
            number = number_of(device)
        if number >= torch.cuda.device_count():
            raise invalid_ordinal()
        stream: VirtualStream = super().__new__(
            cls, stream_id=next(cls._ids) if stream_id is None else stream_id, device_index=number, device_type=_CUDA
        )
        return stream

    @property
    def cuda_stream(self) -> int:
        return self.stream_id

    @property
    def priority(self) -> int:
        return 0

    @staticmethod
    def priority_range() -> tuple[int, int]:
        return 0, -5

    def __enter__(self) -> VirtualStream:
        switch: Any = torch.cuda.stream
        self._switch = switch(self)
        self._switch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._switch.__exit__(*error)

    def synchronize(self) -> None: ...

    def wait_event(self, event: Any) -> None: ...

    def wait_stream(self, stream: Any) -> None: ...

    def record_event(self, event: torch.Event | None = None) -> torch.Event:
        return event or VirtualEvent()

    def query(self) -> bool:
        return True

    def is_capturing(self) -> bool:
        return bool(torch.cuda.is_current_stream_capturing())


class _AnyStream(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _Stream)


class StreamOfAnyDevice(metaclass=_AnyStream):
    """Stands for `torch.Stream`, which a build without CUDA makes for no card."""

    def __new__(cls, device: Any = None, **options: Any) -> Any:
        if device is None or isinstance(device, int) or torch.device(device).type == "cuda":
            return VirtualStream(device, **options)
        return _Stream(device, **options)


class _AnyEvent(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _Event)


class EventOfAnyDevice(metaclass=_AnyEvent):
    """Stands for `torch.Event` in the same way."""

    def __new__(cls, device: Any = None, **options: Any) -> Any:
        if device is None or isinstance(device, int) or torch.device(device).type == "cuda":
            return VirtualEvent(**options)
        return _Event(device, **options)


def _register(name: str, kind: type) -> None:
    """In torch 2.4 and 2.5, `torch._dynamo` asks for these abstract bases when it is imported."""
    base = getattr(importlib.import_module("torch._streambase"), name, None)
    if isinstance(base, abc.ABCMeta):
        base.register(kind)


_register("_EventBase", VirtualEvent)
_register("_StreamBase", VirtualStream)


class StreamSwitch:
    """`with torch.cuda.stream(s)`: new blocks belong to that stream, and its card is the current one."""

    def __init__(self, ledgers: Sequence[Ledger], stream: VirtualStream | None) -> None:
        self._ledgers = ledgers
        self._stream = stream

    def __enter__(self) -> VirtualStream | None:
        if self._stream is not None:
            ledger = self._ledgers[self._stream.device_index]
            self._before = torch.cuda.current_device(), ledger.stream
            torch.cuda.set_device(self._stream.device_index)
            ledger.stream = self._stream.stream_id
        return self._stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            number, self._ledgers[self._stream.device_index].stream = self._before
            torch.cuda.set_device(number)


def stream_attributes(ledgers: Sequence[Ledger]) -> dict[str, Any]:
    """What `torch.cuda` says about streams and events."""
    def number(device: Any) -> int:
        found = number_of(device)
        if found >= len(ledgers):
            raise RuntimeError(f"Device index value {found} is out of index range [0, {len(ledgers)})")
        return found

    def current_stream(device: Any = None) -> VirtualStream:
        return VirtualStream(stream_id=ledgers[number(device)].stream, device_index=number(device))

    def default_stream(device: Any = None) -> VirtualStream:
        return VirtualStream(stream_id=0, device_index=number(device))

    def set_stream(stream: VirtualStream) -> None:
        torch.cuda.set_device(stream.device_index)
        ledgers[stream.device_index].stream = stream.stream_id

    return {
        "Stream": VirtualStream,
        "ExternalStream": lambda pointer, device=None: VirtualStream(device, stream_id=pointer),
        "get_stream_from_external": lambda pointer, device=None: VirtualStream(device, stream_id=pointer),
        "Event": VirtualEvent,
        "StreamContext": lambda stream: StreamSwitch(ledgers, stream),
        "stream": lambda stream: StreamSwitch(ledgers, stream),
        "set_stream": set_stream,
        "current_stream": current_stream,
        "default_stream": default_stream,
    }
