"""Streams and events of the virtual card: blocks remember their stream, and time stands still."""

from __future__ import annotations

import abc
import importlib
import itertools
from types import TracebackType
from typing import Any

import torch

from memdoctor.virtual.device import CARD
from memdoctor.virtual.ledger import Ledger


_CUDA = 1
"""`c10::DeviceType::CUDA` of c10/core/DeviceType.h."""


class VirtualEvent(torch.Event):
    """An event that is reached as soon as it is recorded."""

    def __new__(cls, *args: Any, **kwargs: Any) -> VirtualEvent:
        event: VirtualEvent = super().__new__(cls, device="cpu")
        return event

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # read-only in torch too; its stubs say otherwise
        return CARD

    def record(self, stream: Any = None) -> None: ...

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
        stream_id = kwargs.get("stream_id")
        stream: VirtualStream = super().__new__(
            cls, stream_id=next(cls._ids) if stream_id is None else stream_id, device_index=0, device_type=_CUDA
        )
        return stream

    @property
    def cuda_stream(self) -> int:
        return self.stream_id

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
        return False


def _register(name: str, kind: type) -> None:
    """In torch 2.4 and 2.5, `torch._dynamo` asks for these abstract bases when it is imported."""
    base = getattr(importlib.import_module("torch._streambase"), name, None)
    if isinstance(base, abc.ABCMeta):
        base.register(kind)


_register("_EventBase", VirtualEvent)
_register("_StreamBase", VirtualStream)


class StreamSwitch:
    """`with torch.cuda.stream(s)`: new blocks belong to that stream."""

    def __init__(self, ledger: Ledger, stream: VirtualStream | None) -> None:
        self._ledger = ledger
        self._stream = stream
        self._before = 0

    def __enter__(self) -> VirtualStream | None:
        self._before = self._ledger.stream
        if self._stream is not None:
            self._ledger.stream = self._stream.stream_id
        return self._stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.stream = self._before


def stream_attributes(ledger: Ledger) -> dict[str, Any]:
    """What `torch.cuda` says about streams and events."""
    def current(device: Any = None) -> VirtualStream:
        return VirtualStream(stream_id=ledger.stream)

    def set_stream(stream: VirtualStream) -> None:
        ledger.stream = stream.stream_id

    return {
        "Stream": VirtualStream,
        "ExternalStream": VirtualStream,
        "Event": VirtualEvent,
        "stream": lambda stream: StreamSwitch(ledger, stream),
        "set_stream": set_stream,
        "current_stream": current,
        "default_stream": lambda device=None: VirtualStream(stream_id=0),
        "is_current_stream_capturing": lambda: False,
    }
