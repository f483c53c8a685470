"""Where the bytes of a run's card are: exactly on a virtual card, by what its models own on a real one.

A virtual card is observed from the first hook to the last; the peak is broken down at the end of the iteration in which
it rose, while gradients and optimizer state can still be told by who has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from memdoctor.analysis.breakdown import break_down, known_roles
from memdoctor.analysis.refusals import crash_of
from memdoctor.foundation.breakdown import Breakdown, Crash, IterationBreakdown, Refused
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.locations import Location
from memdoctor.sensing.births import Births, Refusal
from memdoctor.sensing.host_tree import name_of
from memdoctor.sensing.models import Models
from memdoctor.sensing.operands import tensors_of
from memdoctor.sensing.sites import Sites, raised_at
from memdoctor.virtual.gpu import VirtualGPU, current_gpu

_FIRST = 16
"""Rises of the peak that are broken down however small they are: those of a loop that settles."""
_WORTHY_RISE = 1.01
"""Of later ones, and after the last iteration: variable batches raise a peak often, and models die before the end."""


class Attribution:
    """Follows one run; `open` and `close` once each."""

    def __init__(self, models: Models, on_refusal: Callable[[Refused], None] = lambda refused: None) -> None:
        """`on_refusal` is told when a virtual card refuses, before the program is."""
        self._models = models
        self._on_refusal = on_refusal
        self._sites = Sites(models)
        self._gpu: VirtualGPU | None = current_gpu()
        self._births = Births(self._gpu, models, self._sites, self._refused) if self._gpu is not None else None
        self._peak: Breakdown | None = None
        self._rises = 0

    def open(self) -> None:
        """Begin to observe the virtual card, if there is one."""
        if self._gpu is not None:
            self._sites.__enter__()
            self._gpu.observe(self._births)

    def close(self) -> None:
        """Nothing of this is left on the card or in PyTorch."""
        if self._gpu is not None:
            self._gpu.observe(None)
            self._sites.__exit__()

    def iteration_ended(self, peak_bytes: int) -> None:
        """`peak_bytes` is the largest figure so far on a real card."""
        self._update(peak_bytes, 1 if self._rises < _FIRST else _WORTHY_RISE)
        if self._births is not None:
            self._births.iteration_ended()

    def peak(self, peak_bytes: int) -> Breakdown | None:
        """That of the whole run; None for a program that has nothing on a card."""
        self._update(peak_bytes, _WORTHY_RISE)
        return self._peak

    def after_iteration(self, step: int, allocated_bytes: int) -> IterationBreakdown:
        """What is alive right after it; `allocated_bytes` is the figure of a real card."""
        if self._births is None or self._gpu is None:
            return IterationBreakdown(step, self._known(allocated_bytes))
        return IterationBreakdown(step, break_down(self._births.alive(), self._gpu.allocated_bytes))

    def crash(self, error: BaseException) -> Crash:
        """What is known of the error that ended the run: seen as it happened, else read from its text."""
        refusal = self._refusal_of(error)
        if refusal is not None:
            return _whole(refusal)
        crash = replace(crash_of(str(error)), call=raised_at(error), tensors=tensors_of(error))
        crash = replace(crash, processes=tuple(replace(each, name=name_of(each.pid)) for each in crash.processes))
        return replace(crash, breakdown=self._known(crash.allocated_bytes) if crash.allocated_bytes else None)

    def survived_refusals(self, error: BaseException | None) -> int:
        """How often the card was full without ending the run."""
        if self._births is None:
            return 0
        return self._births.refusals - (error is not None and self._refusal_of(error) is not None)

    def survived_at(self, error: BaseException | None) -> tuple[Location, ...]:
        """The lines at which that was, most often first."""
        if self._births is None:
            return ()
        survived = self._births.refused_at.copy()
        ended_by = self._refusal_of(error) if error is not None else None
        if ended_by is not None and ended_by.crash.call is not None:
            survived[ended_by.crash.call] -= 1
        return tuple(line for line, times in survived.most_common() if times > 0)

    def remarks(self) -> tuple[Skipped, ...]:
        """What was missed by a fault of memdoctor's own."""
        failure = self._births.failure if self._births is not None else None
        return (Skipped("where some bytes were allocated", f"memdoctor failed: {failure!r}"),) if failure else ()

    def _refused(self, refusal: Refusal) -> None:
        self._on_refusal(Refused(_whole(refusal)))

    def _refusal_of(self, error: BaseException) -> Refusal | None:
        refusal = self._births.refusal if self._births is not None else None
        return refusal if refusal is not None and refusal.message == str(error) else None

    def _update(self, peak_bytes: int, worthy_rise: float) -> None:
        highest_bytes = self._births.peak_bytes if self._births is not None else peak_bytes
        if highest_bytes > worthy_rise * (self._peak.allocated_bytes if self._peak is not None else 0):
            self._peak = self._breakdown(highest_bytes)
            self._rises += 1

    def _breakdown(self, highest_bytes: int) -> Breakdown:
        if self._births is not None:
            return break_down(self._births.at_peak(), highest_bytes)
        return self._known(highest_bytes)

    def _known(self, allocated_bytes: int) -> Breakdown:
        return known_roles(self._models.role_bytes("cuda"), allocated_bytes)


def _whole(refusal: Refusal) -> Crash:
    return replace(refusal.crash, breakdown=break_down(refusal.holdings, refusal.crash.allocated_bytes))
