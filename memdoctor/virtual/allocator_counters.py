"""What `torch.cuda.memory_stats` counts, each value with its peak and its total.

One `Counters` counts everything, one the small and one the large pools. Counting is half the work of an allocation:
the methods are long so that an operation costs two calls and not twenty.
"""

from __future__ import annotations

_STATISTICS = (
    "allocation", "allocated_bytes", "requested_bytes", "segment", "reserved_bytes",
    "inactive_split", "inactive_split_bytes",
)


class Counters:
    """Current values under PyTorch's names, `max_...` since the last reset and `total_...` since the start.

    `waiting` blocks are freed but still used by another stream: not allocated any more, still active.
    """

    def __init__(self) -> None:
        self.allocation = self.max_allocation = self.total_allocation = 0
        self.allocated_bytes = self.max_allocated_bytes = self.total_allocated_bytes = 0
        self.requested_bytes = self.max_requested_bytes = self.total_requested_bytes = 0
        self.segment = self.max_segment = self.total_segment = 0
        self.reserved_bytes = self.max_reserved_bytes = self.total_reserved_bytes = 0
        self.inactive_split = self.max_inactive_split = self.total_inactive_split = 0
        self.inactive_split_bytes = self.max_inactive_split_bytes = self.total_inactive_split_bytes = 0
        self.waiting = self.max_active = 0
        self.waiting_bytes = self.max_active_bytes = 0

    def took(self, size_bytes: int, requested_bytes: int, splits: int, split_bytes: int) -> None:
        """A block was handed out; `splits` and `split_bytes` are what that changed in the free parts of segments."""
        self.total_allocation += 1
        self.total_allocated_bytes += size_bytes
        self.total_requested_bytes += requested_bytes
        current = self.allocation = self.allocation + 1
        if current > self.max_allocation:
            self.max_allocation = current
        current = self.allocated_bytes = self.allocated_bytes + size_bytes
        if current > self.max_allocated_bytes:
            self.max_allocated_bytes = current
        current = self.requested_bytes = self.requested_bytes + requested_bytes
        if current > self.max_requested_bytes:
            self.max_requested_bytes = current
        if split_bytes:
            current = self.inactive_split = self.inactive_split + splits
            current_bytes = self.inactive_split_bytes = self.inactive_split_bytes + split_bytes
            if split_bytes > 0:  # a whole segment was split: the rest is one more free part
                self.total_inactive_split += 1
                self.total_inactive_split_bytes += split_bytes
                if current > self.max_inactive_split:
                    self.max_inactive_split = current
                if current_bytes > self.max_inactive_split_bytes:
                    self.max_inactive_split_bytes = current_bytes

    def gave_back(self, size_bytes: int, requested_bytes: int, splits: int, split_bytes: int) -> None:
        """A block became free and was merged with its neighbours."""
        self.allocation -= 1
        self.allocated_bytes -= size_bytes
        self.requested_bytes -= requested_bytes
        if split_bytes:
            current = self.inactive_split = self.inactive_split + splits
            current_bytes = self.inactive_split_bytes = self.inactive_split_bytes + split_bytes
            if split_bytes > 0:
                self.total_inactive_split_bytes += split_bytes
                if current_bytes > self.max_inactive_split_bytes:
                    self.max_inactive_split_bytes = current_bytes
            if splits > 0:
                self.total_inactive_split += splits
                if current > self.max_inactive_split:
                    self.max_inactive_split = current

    def defer(self, size_bytes: int) -> None:
        """A block was freed while another stream may still use it."""
        self.allocation -= 1
        self.allocated_bytes -= size_bytes
        self.waiting += 1
        self.waiting_bytes += size_bytes

    def resume(self, size_bytes: int) -> None:
        """Take `defer` back; the block is about to be freed for good."""
        self.allocation += 1
        self.allocated_bytes += size_bytes
        self.waiting -= 1
        self.waiting_bytes -= size_bytes

    def note_active(self) -> None:
        """Raise the peaks of active blocks; needed after an allocation only while blocks wait."""
        self.max_active = max(self.max_active, self.allocation + self.waiting)
        self.max_active_bytes = max(self.max_active_bytes, self.allocated_bytes + self.waiting_bytes)

    def reserve(self, nbytes: int, segments: int) -> None:
        """The driver gave memory; pages of an expandable segment count as no segment."""
        self.segment += segments
        self.total_segment += segments
        if self.segment > self.max_segment:
            self.max_segment = self.segment
        self.reserved_bytes += nbytes
        self.total_reserved_bytes += nbytes
        if self.reserved_bytes > self.max_reserved_bytes:
            self.max_reserved_bytes = self.reserved_bytes

    def release(self, nbytes: int, segments: int) -> None:
        """Memory went back to the driver."""
        self.segment -= segments
        self.reserved_bytes -= nbytes

    def reset_peak(self) -> None:
        """Let every peak start again from the current value."""
        for name in _STATISTICS:
            setattr(self, f"max_{name}", getattr(self, name))
        self.max_active = self.max_active_bytes = 0
        self.note_active()

    def as_stats(self) -> dict[str, dict[str, int]]:
        """`{"allocated_bytes": {"current": ..., "peak": ..., "allocated": ..., "freed": ...}, ...}`."""
        stats = {
            name: _statistic(getattr(self, name), getattr(self, f"max_{name}"), getattr(self, f"total_{name}"))
            for name in _STATISTICS
        }
        # Every allocation was active; without waiting blocks the peaks are the same too.
        stats["active"] = _statistic(
            self.allocation + self.waiting, max(self.max_active, self.max_allocation), self.total_allocation)
        stats["active_bytes"] = _statistic(
            self.allocated_bytes + self.waiting_bytes,
            max(self.max_active_bytes, self.max_allocated_bytes), self.total_allocated_bytes)
        return stats


def _statistic(current: int, peak: int, total: int) -> dict[str, int]:
    return {"current": current, "peak": peak, "allocated": total, "freed": total - current}


class CountersWithoutSplits(Counters):
    """For expandable segments, which PyTorch leaves out of `inactive_split`."""

    def took(self, size_bytes: int, requested_bytes: int, splits: int, split_bytes: int) -> None:
        super().took(size_bytes, requested_bytes, 0, 0)

    def gave_back(self, size_bytes: int, requested_bytes: int, splits: int, split_bytes: int) -> None:
        super().gave_back(size_bytes, requested_bytes, 0, 0)


class OversizeCounters(Counters):
    """Counts only blocks and segments of at least `max_split_bytes`, which are never split."""

    def __init__(self, max_split_bytes: int) -> None:
        super().__init__()
        self._least_bytes = max_split_bytes

    def took(self, size_bytes: int, requested_bytes: int, splits: int, split_bytes: int) -> None:
        if size_bytes >= self._least_bytes:
            super().took(size_bytes, requested_bytes, 0, 0)

    def gave_back(self, size_bytes: int, requested_bytes: int, splits: int, split_bytes: int) -> None:
        if size_bytes >= self._least_bytes:
            super().gave_back(size_bytes, requested_bytes, 0, 0)

    def defer(self, size_bytes: int) -> None:
        if size_bytes >= self._least_bytes:
            super().defer(size_bytes)

    def resume(self, size_bytes: int) -> None:
        if size_bytes >= self._least_bytes:
            super().resume(size_bytes)

    def reserve(self, nbytes: int, segments: int) -> None:
        if nbytes >= self._least_bytes:
            super().reserve(nbytes, segments)

    def release(self, nbytes: int, segments: int) -> None:
        if nbytes >= self._least_bytes:
            super().release(nbytes, segments)
