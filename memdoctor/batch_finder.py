"""One search for the largest batch size: what is recorded, what is tried, and what the data cannot show.

`batch_forecast.py` learns from recordings on a virtual card that is never full, and says where to look;
`analysis/batch_search.py` says what remains to be tried on the card itself. A batch that the data did not fill proves
nothing: then the search begins again below it, with all that is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from memdoctor.analysis.batch_dimension import real_size
from memdoctor.analysis.batch_search import BatchSearch
from memdoctor.batch_forecast import FIRST_RUNG, Forecast, Recording
from memdoctor.batch_trial import STEPS, Outcome, Request, Trials
from memdoctor.foundation.batch_sizes import BatchSize, Recorded, Trial
from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.units import MIB, format_bytes
from memdoctor.virtual.cards import find_card

_STILL_BYTES = 64 * MIB
"""Less than this the others on a card move all the time: a desktop draws its windows."""

_ENDLESS_ROOM = "1024PiB"


class _TooFewData(Exception):
    """The batch was not as large as its size says."""

    def __init__(self, largest: int) -> None:
        super().__init__(largest)
        self.largest = largest
        """What the data do fill."""


class BatchFinder:
    """Finds the largest size for which the trials of a request fit; `found` once."""

    def __init__(
        self,
        trials: Trials,
        request: Request,
        *,
        multiple_of: int,
        max_size: int,
        on_trial: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self._trials = trials
        self._request = request
        self._multiple_of = multiple_of
        self._max_size = max_size
        self._on_trial = on_trial
        self._recorded: dict[int, Outcome] = {}
        self._tried: dict[int, Outcome] = {}
        self._skipped: list[Skipped] = []
        self._is_ended_by_data = False

    def found(self) -> BatchSize:
        """Search to the end; raises as `Trials.run` does."""
        while True:
            try:
                return self._searched()
            except _TooFewData as data:
                self._lower_maximum(data.largest)

    def _searched(self) -> BatchSize:
        first = min(FIRST_RUNG, self._max_size // self._multiple_of) * self._multiple_of
        room_bytes = self._room_bytes(first)
        forecast = self._forecast(room_bytes)
        predicted = forecast.goal
        search = BatchSearch(room_bytes, multiple_of=self._multiple_of, max_size=self._max_size)
        if forecast.goal is None:
            self._try(first)
        for size, outcome in self._tried.items():
            if size <= self._max_size:
                search.tell(size, outcome.fits, outcome.peak_bytes)
        while (open_size := search.ask(forecast.goal)) is not None:
            outcome = self._try(open_size)
            search.tell(open_size, outcome.fits, outcome.peak_bytes)
            if outcome.fits and outcome.usable_bytes < room_bytes:
                room_bytes = outcome.usable_bytes
                forecast = self._forecast(room_bytes)
        return self._answer(search.largest, search.predicted if predicted is None else predicted)

    def _room_bytes(self, first: int) -> int:
        """What PyTorch can have of the card; of a real one a live trial of the first size tells."""
        request = self._request
        if request.card is None:
            return self._try(first).usable_bytes
        card = find_card(request.card)
        room_bytes = card.total_bytes - card.context_bytes
        return room_bytes - int(room_bytes * request.margin)

    def _forecast(self, room_bytes: int) -> Forecast:
        forecast = Forecast(room_bytes, multiple_of=self._multiple_of, max_size=self._max_size)
        while (size := forecast.ask()) is not None:
            if not self._learn(forecast, size):
                break
        return forecast

    def _learn(self, forecast: Forecast, size: int) -> bool:
        """Record a size for the forecast; False where this program cannot be recorded."""
        outcome = self._record(size)
        if outcome is None or outcome.requests is None:
            return False
        forecast.learn(size, Recording(outcome.requests, outcome.warm_up_requests))
        return True

    def _record(self, size: int) -> Outcome | None:
        """The size on an endless virtual card; for a real card that is a quiet extra, which may fail."""
        is_extra = self._request.card is None
        card = _ENDLESS_ROOM if is_extra else self._request.card
        request = dataclasses.replace(self._request, batch_size=size, card=card, is_endless=True, margin=0.0)
        try:
            return self._known(self._recorded, size, lambda: self._trials.run(request, is_quiet=is_extra))
        except BadInput:
            if is_extra:
                return None
            raise

    def _try(self, size: int) -> Outcome:
        """The size on the card itself."""
        request = dataclasses.replace(self._request, batch_size=size)
        is_new = size not in self._tried
        outcome = self._known(self._tried, size, lambda: self._trials.run(request))
        if is_new:
            self._on_trial(trial_of(size, outcome))
        return outcome

    def _known(self, outcomes: dict[int, Outcome], size: int, run: Callable[[], Outcome]) -> Outcome:
        """The outcome of a size, found out if it is not known; raises `_TooFewData` if it was none of that size."""
        if size in outcomes:
            return outcomes[size]
        outcome = run()
        if outcome.fits and not outcome.peak_bytes:
            raise self._nothing_on_the_card()
        outcomes[size] = outcome
        filled = self._filled(outcomes, size)
        if filled < size:
            del outcomes[size]
            raise _TooFewData(filled)
        return outcome

    def _filled(self, outcomes: dict[int, Outcome], size: int) -> int:
        """The largest batch that the data fill, as far as this size shows; the size itself where nothing is amiss.

        The dimension that grows may not be the batch alone, so less growth than was asked for is only a suspicion:
        it is true if the size that it points to did exactly the same.
        """
        outcome, smallest = outcomes[size], min(outcomes)
        if not outcome.fits:
            return size
        if outcome.steps < STEPS:
            return self._multiple(size * outcome.steps // STEPS)
        real = real_size(outcome.shapes, smallest, outcomes[smallest].shapes)
        if real is None or real >= size:
            return size
        real = max(self._multiple(real), smallest)
        same = self._record(real) if outcomes is self._recorded else self._try(real)
        return real if same is not None and _asked_the_same(same, outcome) else size

    def _lower_maximum(self, largest: int) -> None:
        program, what = self._request.program, self._request.axis or "batch size"
        if largest <= FIRST_RUNG * self._multiple_of:
            raise BadInput(
                f"{program} does not fill {STEPS} steps with batches of more than {largest}, whatever its {what}.",
                "Give it more data or more epochs, or name another argument that sets the size of its batches.",
            )
        self._max_size = largest
        self._is_ended_by_data = True
        why = f"the data of {program} do not fill {STEPS} steps of more"
        self._skipped = [Skipped(f"{what} above {largest}", why)]

    def _multiple(self, size: int) -> int:
        return size // self._multiple_of * self._multiple_of

    def _nothing_on_the_card(self) -> BadInput:
        return BadInput(
            f"{self._request.program} put nothing on the card, so every batch size fits.",
            "Put model and batch on it: .to('cuda').",
        )

    def _answer(self, largest: int, predicted: int | None) -> BatchSize:
        best = self._tried.get(largest)
        first = next(iter(self._tried.values()))
        peak_bytes = None if best is None else best.peak_bytes
        moved = _others_moved(list(self._tried.values())) if self._request.card is None else None
        return BatchSize(
            batch_size=largest,
            card=first.card,
            peak_bytes=peak_bytes,
            margin_bytes=None if peak_bytes is None else first.room_bytes - peak_bytes,
            predicted=predicted,
            trials=tuple(trial_of(size, outcome) for size, outcome in self._tried.items()),
            skipped=(*([moved] if moved else []), *self._skipped, *first.skipped),
            axis=self._request.axis,
            recorded=tuple(Recorded(size, each.peak_bytes or 0) for size, each in self._recorded.items()),
            is_exact=moved is None,
            is_ended_by_data=self._is_ended_by_data,
            advice=() if best is not None else self._tried[min(self._tried)].advice,
        )


def trial_of(size: int, outcome: Outcome) -> Trial:
    """What an answer says of a trial."""
    return Trial(
        size,
        outcome.fits,
        outcome.peak_bytes,
        outcome.seconds,
        outcome.first_peak_bytes,
        outcome.step_seconds,
        outcome.alloc_retries,
    )


def _asked_the_same(one: Outcome, other: Outcome) -> bool:
    return (one.shapes, one.requests, one.peak_bytes) == (other.shapes, other.requests, other.peak_bytes)


def _others_moved(outcomes: list[Outcome]) -> Skipped | None:
    """What was free before each trial differs only if other processes came or went: every trial's own is gone."""
    rooms = [outcome.room_bytes for outcome in outcomes]
    least, most = min(rooms), max(rooms)
    if most - least <= _STILL_BYTES:
        return None
    why = f"{format_bytes(least)} to {format_bytes(most)} were free before the trials: others use the card too"
    return Skipped("the exact size", why)
