"""Streams and events of the virtual card: blocks remember their stream, and time stands still."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from memdoctor.virtual.device import CARD
from memdoctor.virtual.ledger import Ledger


class VirtualEvent:
    """An event that is reached as soon as it is recorded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = CARD
        self.cuda_event = id(self)

    def record(self, stream: Any = None) -> None: ...

    def wait(self, stream: Any = None) -> None: ...

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True

    def elapsed_time(self, end_event: VirtualEvent) -> float:
        """Milliseconds, always 1.0: nothing is executed, and a rate computed from it stays finite."""
        return 1.0


class VirtualStream:
    """A stream; the allocator keeps its free blocks apart from those of other streams."""

    streams_made = 0

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        VirtualStream.streams_made += 1
        self.stream_id = kwargs.get("stream_id", VirtualStream.streams_made)
        self.priority = priority
        self.device = CARD
        self.device_index = 0
        self.device_type = 1
        self.cuda_stream = self.stream_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VirtualStream) and other.stream_id == self.stream_id

    def __hash__(self) -> int:
        return hash(self.stream_id)

    def synchronize(self) -> None: ...

    def wait_event(self, event: Any) -> None: ...

    def wait_stream(self, stream: Any) -> None: ...

    def record_event(self, event: VirtualEvent | None = None) -> VirtualEvent:
        return event or VirtualEvent()

    def query(self) -> bool:
        return True

    def is_capturing(self) -> bool:
        return False


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
