"""What is wrong or notable, and what was not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from memdoctor.foundation.locations import Location
from memdoctor.foundation.readings import Retainer

__all__ = [
    "Advice", "Applicability", "Confidence", "Edit", "Finding", "Location", "Report", "RuleText", "Severity", "Skipped",
]


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
class Edit:
    """Text that replaces a range of the source; positions as in `Location`, an empty range inserts."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: str
    """Its line ends are newlines; a file's own are put in where it is written."""


@dataclass(frozen=True)
class Advice:
    """What to change, in one sentence that can be followed."""

    text: str
    applicability: Applicability = Applicability.MANUAL
    edits: tuple[Edit, ...] = ()
    """The change itself, in the order of the source; empty where a person has to write it."""


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
    excerpt: str = ""
    """The line of source that the location begins in, with its indentation; empty where source was not read."""


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
    known: int = 0
    """Findings left out because a baseline holds them."""


@dataclass(frozen=True)
class RuleText:
    """A rule as reports describe it."""

    code: str
    name: str
    severity: Severity
    documentation: str
    """What it finds, why that costs memory, Bad, Good, and what it does not see."""

    @property
    def summary(self) -> str:
        """The first sentence of the documentation."""
        return self.documentation.split("\n", 1)[0]
