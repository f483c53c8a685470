"""A recorded run to its report: the verdict on growth, and who holds what grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from memdoctor.analysis.cache import cache_findings
from memdoctor.analysis.growth import decide
from memdoctor.analysis.host import host_findings
from memdoctor.analysis.oom import cause_of
from memdoctor.analysis.phases import phase_findings
from memdoctor.analysis.retention import findings
from memdoctor.foundation.breakdown import Crash
from memdoctor.foundation.findings import Confidence, Finding
from memdoctor.foundation.looks import GRAPHS, LEAKS, Growth
from memdoctor.foundation.runs import REST_OF_RUN, SEARCH, Run, RunReport, Verdict

Source = Callable[[str], str | None]
"""The text of a file, or None where it cannot be read."""


def conclude(run: Run, source: Source) -> Verdict:
    """Judge a run where its source can be read, so that names and lines travel with the recording."""
    capacity_bytes = run.header.device.free_bytes or None
    growth = decide(run.timeline, run.looks, capacity_bytes=capacity_bytes, source=source)
    if growth.verdict not in LEAKS and any(skipped.what in (SEARCH, REST_OF_RUN) for skipped in run.skipped):
        growth = Growth("none", "This run could not be judged: a part of it was not looked at.", Confidence.LOW)
    if growth.verdict not in LEAKS and any(skipped.what == GRAPHS for skipped in run.skipped):
        growth = replace(growth, confidence=Confidence.LOW)
    return Verdict(growth, findings(run.looks, growth, source, capacity_bytes=capacity_bytes))


def diagnose(run: Run, source: Source) -> RunReport:
    """The report of a run: the verdict it carries, else one made now, as for a run that was killed."""
    verdict = run.verdict or conclude(run, source)
    return RunReport(
        header=run.header,
        end=run.end,
        timeline=run.timeline,
        growth=verdict.growth,
        findings=verdict.findings,
        skipped=run.skipped,
        peak_breakdown=run.peak_breakdown,
        iteration_breakdown=run.iteration_breakdown,
        crash=run.crash,
        remarks=_remarks(run, verdict),
        host=run.host,
        loaders=run.loaders,
        phases=run.phases,
        cause=cause_of(run.crash, verdict, run.timeline.iterations) if run.crash is not None else None,
    )


def _remarks(run: Run, verdict: Verdict) -> tuple[Finding, ...]:
    is_leak = verdict.growth.verdict in LEAKS
    of_the_host = host_findings(run.host, run.loaders, run.end.message, is_leak=is_leak)
    refusals = run.end.survived_refusals + (run.crash is not None)
    of_cache = cache_findings(run.cache, run.timeline.iterations, refusals=refusals)
    of_phases = () if _is_said(run.crash, verdict) else phase_findings(run.phases, run.peak_breakdown)
    return (*of_phases, *of_cache, *of_the_host)


def _is_said(crash: Crash | None, verdict: Verdict) -> bool:
    """Whether a leak, or the cause of a crash in an evaluation with gradients, is why evaluation takes more."""
    return verdict.growth.verdict == "leak" or (crash is not None and crash.gradients_in_evaluation)
