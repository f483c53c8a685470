"""What is wrong or notable, and what was not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from memdoctor.foundation.locations import Location
from memdoctor.foundation.readings import Retainer

__all__ = ["Advice", "Applicability", "Confidence", "Finding", "Location", "Report", "Severity", "Skipped"]


class Severity(Enum):
    """How much it costs if it is true."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst, so that sorting puts it first."""
        return list(type(self)).index(self)


class Confidence(Enum):
    """How sure memdoctor is that it is true; low is hidden and counted unless asked for."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the surest."""
        return list(type(self)).index(self)


class Applicability(Enum):
    """Who may apply an advice."""

    SAFE = "safe"
    """A tool: the program computes the same."""
    UNSAFE = "unsafe"
    """A tool that was told to: the result may change, or is used in a way that cannot be seen."""
    MANUAL = "manual"
    """A person: it needs a decision."""


@dataclass(frozen=True)
class Advice:
    """What to change, in one sentence that can be followed."""

    text: str
    applicability: Applicability = Applicability.MANUAL


@dataclass(frozen=True)
class Finding:
    """One thing that wastes or keeps memory, with where, how sure and how much as separate fields."""

    code: str
    """`MD101`; static and run-time findings of one pattern share it."""
    name: str
    """The pattern: `loss-kept-with-graph`."""
    severity: Severity
    confidence: Confidence
    message: str
    """In the user's words, with the variable's name."""
    location: Location | None
    """None for a finding of a run whose source cannot be read."""
    variable: str | None = None
    advice: Advice | None = None
    cost_bytes: int | None = None
    """Device bytes a step, measured; None where only source was read."""
    retainer: Retainer | None = None
    """Who keeps it alive, where a run has shown it."""


@dataclass(frozen=True)
class Skipped:
    """Something that could not be looked at, and why; a value in every report, never silence."""

    what: str
    why: str


@dataclass(frozen=True)
class Report:
    """The answer of one command: what was found, what was hidden as too unsure, what was not looked at."""

    findings: tuple[Finding, ...] = ()
    hidden: int = 0
    """Findings left out for low confidence."""
    skipped: tuple[Skipped, ...] = ()
