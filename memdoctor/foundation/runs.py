"""A recorded run, and what memdoctor concludes from it."""

from __future__ import annotations

from dataclasses import dataclass

from memdoctor.foundation.breakdown import Breakdown, CardLedger, Crash, IterationBreakdown
from memdoctor.foundation.findings import Finding, Skipped
from memdoctor.foundation.host import CacheUse, HostReading, LoaderReading
from memdoctor.foundation.locations import Location
from memdoctor.foundation.looks import Growth, Look
from memdoctor.foundation.phases import PhaseReading
from memdoctor.foundation.readings import DeviceReading, Timeline

FINISHED = "finished"
RAISED = "raised"
OUT_OF_MEMORY = "out of memory"
INTERRUPTED = "interrupted"
SEARCH = "who holds the memory"
"""What is `Skipped` if the search for holders failed."""
REST_OF_RUN = "the rest of the run"
"""What is `Skipped` if watching failed."""
CUT_OFF = "cut off"
"""The recording ends without a word, as after `kill -9`."""


@dataclass(frozen=True)
class RunHeader:
    """What is known before the first iteration."""

    device: DeviceReading
    """The card, or the host for a program that uses none, as it was before the run."""
    program: str
    """What was run, as typed: `train.py --epochs 3`."""
    started: str
    """Date and time with zone, ISO 8601."""


@dataclass(frozen=True)
class RunEnd:
    """How the run ended."""

    outcome: str
    """One of the five words above."""
    message: str = ""
    """The exception's own text."""
    peak_allocated_bytes: int = 0
    """The most that was seen at any reading, the last one included; that of a run without iterations."""
    peak_reserved_bytes: int = 0
    survived_refusals: int = 0
    """How often a virtual card was full and the program caught the error, as a search for a batch size does."""
    survived_at: tuple[Location, ...] = ()
    """The user's lines that were running then, most often first; none on a real card."""
    precision: str = ""
    """How far the peak of a virtual card may be from a real one's, measured on programs of that kind."""
    card_peaks: tuple[int, ...] = ()
    """The most bytes that each of several virtual cards had allocated, at whatever moment; empty where there is one."""


@dataclass(frozen=True)
class Verdict:
    """What was concluded when the run ended, where the source could still be read."""

    growth: Growth
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Run:
    """Everything that a recording holds."""

    header: RunHeader
    timeline: Timeline
    looks: tuple[Look, ...]
    skipped: tuple[Skipped, ...]
    end: RunEnd
    verdict: Verdict | None = None
    """None if the run was cut off before it could be judged."""
    peak_breakdown: Breakdown | None = None
    """None for a program that has nothing on a card."""
    crash: Crash | None = None
    """None unless the run ended out of memory."""
    host: tuple[HostReading, ...] = ()
    """About one a second."""
    loaders: tuple[LoaderReading, ...] = ()
    """Those with worker processes."""
    cache: CacheUse | None = None
    """None if nothing happened to it."""
    phases: tuple[PhaseReading, ...] = ()
    iteration_breakdown: IterationBreakdown | None = None
    """Of the iteration that was asked for; None if none was, or if the run ended before it."""


@dataclass(frozen=True)
class Cause:
    """Why a run ended out of memory, and what to do."""

    kind: str
    """`leak`, `fragmentation`, `other processes`, `limit` or `too big at one moment`."""
    explanation: str
    """One or two sentences for the user."""
    advice: tuple[str, ...] = ()
    """The largest expected effect first; empty for a leak, whose findings say what to do."""


@dataclass(frozen=True)
class RunReport:
    """The answer of `run`, `profile` and `report`."""

    header: RunHeader
    end: RunEnd
    timeline: Timeline
    growth: Growth
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    peak_breakdown: Breakdown | None = None
    iteration_breakdown: IterationBreakdown | None = None
    crash: Crash | None = None
    cause: Cause | None = None
    """Of the crash."""
    remarks: tuple[Finding, ...] = ()
    """Findings that are no leak of device memory: of the host's side, and of the cache of the card."""
    host: tuple[HostReading, ...] = ()
    loaders: tuple[LoaderReading, ...] = ()
    phases: tuple[PhaseReading, ...] = ()

    @property
    def ledger(self) -> CardLedger | None:
        """The card when PyTorch held most of it; None for a program without a card."""
        device, reserved_bytes = self.header.device, self.peak_reserved_bytes
        if not device.total_bytes:
            return None
        return CardLedger(
            total_bytes=device.total_bytes,
            tensors_bytes=self.peak_allocated_bytes,
            cached_bytes=reserved_bytes - self.peak_allocated_bytes,
            context_bytes=device.used_bytes - (device.others_bytes or 0),
            others_bytes=device.others_bytes,
            free_bytes=device.total_bytes - device.used_bytes - reserved_bytes,
        )

    @property
    def peak_allocated_bytes(self) -> int:
        """Over the whole run, as far as it was recorded."""
        return max(self.end.peak_allocated_bytes, self.timeline.peak_allocated_bytes)

    @property
    def peak_reserved_bytes(self) -> int:
        """Over the whole run, as far as it was recorded."""
        return max(self.end.peak_reserved_bytes, self.timeline.peak_reserved_bytes)
