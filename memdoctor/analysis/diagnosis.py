"""A recorded run to its report: the verdict on growth, and who holds what grows."""

from __future__ import annotations

from collections.abc import Callable

from memdoctor.analysis.growth import decide
from memdoctor.analysis.retention import findings
from memdoctor.foundation.runs import Run, RunReport, Verdict

Source = Callable[[str], str | None]
"""The text of a file, or None where it cannot be read."""


def conclude(run: Run, source: Source) -> Verdict:
    """Judge a run where its source can be read, so that names and lines travel with the recording."""
    growth = decide(run.timeline, run.looks, capacity_bytes=run.header.device.free_bytes or None, source=source)
    return Verdict(growth, findings(run.looks, growth, source))


def diagnose(run: Run, source: Source) -> RunReport:
    """The report of a run: the verdict it carries, else one made now, as for a run that was killed."""
    verdict = run.verdict or conclude(run, source)
    return RunReport(run.header, run.end, run.timeline, verdict.growth, verdict.findings, run.skipped)
