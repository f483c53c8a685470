"""Whether a program empties PyTorch's cache without need, and whether PyTorch had to do it for lack of room."""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.foundation.host import CacheUse
from memdoctor.foundation.units import format_bytes

_OFTEN = 0.5
"""Share of the iterations with a call that is a habit, and no preparation for something large."""
_FEW_ITERATIONS = 10
_WORTHY_MILLISECONDS = 0.1
_FEW_RETRIES = 3


def cache_findings(use: CacheUse | None, iterations: int, *, refusals: int = 0) -> Iterator[Finding]:
    """Nothing for a run too short to show a habit; `refusals` are the retries that did not help."""
    if use is None or iterations < _FEW_ITERATIONS:
        return
    if use.emptied_iterations >= _OFTEN * iterations:
        yield _emptied(use, iterations)
    if use.retries - refusals >= _FEW_RETRIES:
        yield _retried(use.retries - refusals)


def _emptied(use: CacheUse, iterations: int) -> Finding:
    each_bytes = use.returned_bytes // max(1, use.empties)
    milliseconds = 1000 * use.seconds / use.empties
    took = f" They took {milliseconds:.1f} ms each." if milliseconds >= _WORTHY_MILLISECONDS else ""
    gave = (
        f"gave {format_bytes(each_bytes)} back to the driver each time, which the next iteration asks for again"
        if each_bytes else "found nothing to give back"
    )
    return Finding(
        code="MD401",
        name="empty-cache-in-loop",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        message=(
            f"torch.cuda.empty_cache() was called {use.empties:,} times, in {use.emptied_iterations:,} of "
            f"{iterations:,} iterations, and {gave}. It frees no tensor.{took}"
        ),
        location=use.location,
        advice=Advice("Leave it out: PyTorch reuses what is free, without waiting for the card.", Applicability.MANUAL),
    )


def _retried(times: int) -> Finding:
    return Finding(
        code="MD402",
        name="allocator-retries",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH,
        message=(
            f"{times:,} times there was no room until PyTorch had emptied its cache, which waits for the card: "
            "the program runs at its limit, and slower than it could."
        ),
        location=None,
        advice=Advice(
            "Make the batch a little smaller, or let freed pieces be joined: "
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True.", Applicability.MANUAL,
        ),
    )
