"""A run as a list of findings, for the reports that know nothing else: SARIF, GitHub and JUnit."""

from __future__ import annotations

from memdoctor.foundation.breakdown import Crash
from memdoctor.foundation.findings import Advice, Confidence, Finding, Report, Severity
from memdoctor.foundation.runs import Cause, RunReport


def run_findings(report: RunReport) -> Report:
    """The end of a run that was out of memory comes first; what was not looked at is no file, and is left out."""
    ended = [_crash(report.crash, report.cause)] if report.crash is not None and report.cause is not None else []
    return Report((*ended, *report.findings, *report.remarks))


def _crash(crash: Crash, cause: Cause) -> Finding:
    return Finding(
        code="MD403",
        name="out-of-memory",
        severity=Severity.ERROR,
        confidence=Confidence.HIGH,
        message=f"Out of memory, {cause.kind}. {cause.explanation}",
        location=crash.call,
        advice=Advice(cause.advice[0]) if cause.advice else None,
    )
