"""How much of the program's time looking may take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

_SHARE_OF_TIME = 0.05
_CHEAP_SECONDS = 2.0
"""Of one look; a run that gets twice as long can always have another such."""


class Budget:
    """Some seconds of processor time for free, which is all that a short program needs; then a share of what passes."""

    def __init__(self, free_seconds: float) -> None:
        self._free_seconds = free_seconds
        self._rest_until = 0.0
        self.is_cheap = True
        """False after a look that has taken long."""

    @property
    def is_open(self) -> bool:
        """False while what was last spent is not yet a twentieth of the time since."""
        return time.monotonic() >= self._rest_until

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Charges the processor time of this thread within the `with`."""
        began = time.thread_time()
        yield
        seconds = time.thread_time() - began
        self._free_seconds -= seconds
        self.is_cheap = seconds < _CHEAP_SECONDS
        if self._free_seconds < 0:
            self._rest_until = time.monotonic() + seconds / _SHARE_OF_TIME
