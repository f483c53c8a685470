"""What happened on the card, in the form of the traces that `torch.cuda.memory._record_memory_history()` keeps."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from types import FrameType
from typing import Any

from memdoctor.virtual.allocator import Block

_OUR_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


class History:
    """The newest events, each with the Python stack that led to it; fields as PyTorch names them."""

    def __init__(self, max_entries: int, device: int) -> None:
        self._device = device
        self._entries: deque[dict[str, Any]] = deque(maxlen=max_entries)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return list(self._entries)

    def note(self, action: str, block: Block) -> None:
        """`alloc`, `free_requested` or `free_completed` of a block."""
        self._entries.append({
            "action": action, "addr": block.address, "size": block.size_bytes, "device": self._device,
            "stream": block.segment.free_blocks.stream, "time_us": time.time_ns() // 1000,
            "frames": _frames(sys._getframe(1)),
        })

    def note_refusal(self, nbytes: int, free_bytes: int, stream: int) -> None:
        """The card was full."""
        self._entries.append({
            "action": "oom", "addr": 0, "size": nbytes, "device": self._device, "device_free": free_bytes,
            "stream": stream, "time_us": time.time_ns() // 1000, "frames": _frames(sys._getframe(1)),
        })


def _frames(frame: FrameType | None) -> list[dict[str, Any]]:
    """Innermost first, without memdoctor's own."""
    frames = []
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_OUR_FOLDER):
            frames.append({"filename": code.co_filename, "line": frame.f_lineno, "name": code.co_name})
        frame = frame.f_back
    return frames
