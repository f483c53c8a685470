"""One profiled stretch of a program, from the first hook to the verdict."""

from __future__ import annotations

import datetime
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from memdoctor.analysis.diagnosis import conclude, diagnose
from memdoctor.analysis.messages import is_out_of_memory, text_of
from memdoctor.attribution import Attribution
from memdoctor.foundation.breakdown import Refused
from memdoctor.foundation.findings import Confidence, Skipped
from memdoctor.foundation.looks import Growth
from memdoctor.foundation.recording import Recording
from memdoctor.foundation.runs import FINISHED, INTERRUPTED, OUT_OF_MEMORY, RAISED, REST_OF_RUN
from memdoctor.foundation.runs import RunEnd, RunHeader, RunReport, Verdict
from memdoctor.foundation.sources import source_of
from memdoctor.sensing.allocator import NO_COUNTERS, Allocator, HostAllocator
from memdoctor.sensing.recorder import Recorder
from memdoctor.surroundings import Surroundings
from memdoctor.virtual.gpu import current_gpu
from memdoctor.watched_device import VirtualAllocator, WatchedDevice, device_in_use


class Session:
    """Hooks, counters, looks and the recording of one run; `open` and `close` once each.

    Which device the program uses is seen at its first iteration, not before: asking earlier would create a context.
    A failure in here ends the watching and is reported as skipped; it never reaches the program.
    """

    def __init__(self, *, steps: str, output: Path | None, program: str, at: int | None = None) -> None:
        """`at` is an iteration after which is looked where the bytes are.

        Raises `BadInput` if the recording cannot be written.
        """
        self._at = at
        self._program = program
        self._started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self._clock = time.perf_counter()
        self._recording = Recording(output)
        self._surroundings = Surroundings(self._recording.add)
        self._recorder = Recorder(
            self._on_iteration, on_failure=self._fail, steps=steps, on_call=self._surroundings.call
        )
        self._attribution = Attribution(self._recorder.models, self._on_refusal)
        self._watched: WatchedDevice | None = None
        self._before = NO_COUNTERS
        self._step = 0
        self._broken = False
        self._lock = threading.RLock()
        self._is_inside = False
        self._pid = os.getpid()

    def open(self) -> None:
        """Install the hooks."""
        self._guarded(self._read_before)
        self.resume()

    def pause(self) -> None:
        """Remove the hooks; what the program does until `resume` is not watched."""
        self._recorder.__exit__(None, None, None)
        self._attribution.close()
        self._surroundings.close()

    def resume(self) -> None:
        """Install the hooks again."""
        self._recorder.__enter__()
        self._attribution.open()
        self._surroundings.open()

    def step(self) -> None:
        """The user's own word that an iteration has ended."""
        self._recorder.step()

    def report(self) -> RunReport:
        """What is known so far; the run goes on."""
        if self._watched is None:
            self._begin()
        return replace(diagnose(self._recording.run(), source_of), end=RunEnd(FINISHED))

    def close(self, error: BaseException | None) -> RunReport:
        """Remove the hooks, write how it ended and what follows from it, and return the report."""
        self.pause()
        if os.getpid() != self._pid:
            self._recording.leave_file()
        self._guarded(self._finish)
        self._guarded(lambda: self._attribute(error))
        with self._recording as recording:
            if self._watched is None:
                recording.begin(self._header(HostAllocator()))
            recording.add(self._end(error))
            recording.add(self._verdict())
            return diagnose(recording.run(), source_of)

    def _on_iteration(self, unit: str, phase: str) -> None:
        """Runs in the user's thread; a forked child inherits the hooks, but the recording is not its own."""
        if self._broken or os.getpid() != self._pid:
            return
        with self._lock:
            if self._is_inside:  # looking at the heap may run a finalizer of the user's, which may step an optimizer
                return
            self._is_inside = True
            try:
                self._iteration(unit, phase)
            except Exception as error:  # as in `_guarded`, without its price at each iteration
                self._fail(error)
            finally:  # Ctrl-C may arrive in here, and the program may catch it and go on
                self._is_inside = False

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever it is, it is not the user's and must not reach him
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._broken = True
        self._recording.add(Skipped(REST_OF_RUN, f"memdoctor failed at iteration {self._step}: {error!r}"))

    def _read_before(self) -> None:
        self._before = device_in_use()[0].counters()

    def _iteration(self, unit: str, phase: str) -> None:
        watched = self._watched or self._begin()
        reading = watched.read(self._step, phase, time.perf_counter() - self._clock)
        self._recording.add(reading)
        watched.rises.note(self._step, reading.allocated_bytes)
        watched.looker.tick(self._step, unit)
        self._attribution.iteration_ended(reading.peak_bytes)
        self._surroundings.iteration_ended(self._step)
        if self._step == self._at:
            self._recording.add(self._attribution.after_iteration(self._step, reading.allocated_bytes))
        self._step += 1

    def _on_refusal(self, refused: Refused) -> None:
        """The record is on the disk before the program learns that the card is full, and whatever it does then."""
        gpu = current_gpu()
        if os.getpid() != self._pid or gpu is None:
            return
        if not self._recording.has_begun:
            self._recording.begin(self._header(VirtualAllocator(gpu)))
        self._recording.add(refused)

    def _begin(self) -> WatchedDevice:
        watched = WatchedDevice(self._recording, self._before, self._recorder.models)
        if not self._recording.has_begun:
            self._recording.begin(self._header(watched.allocator))
        self._watched = watched
        return watched

    def _header(self, allocator: Allocator) -> RunHeader:
        return RunHeader(allocator.reading(), self._program, self._started)

    def _finish(self) -> None:
        watched = self._watched or self._begin()
        watched.looker.finish(self._step)
        watched.counters()
        if self._at is not None and self._step <= self._at:
            self._recording.add(Skipped(f"the bytes after iteration {self._at}", f"there were {self._step} iterations"))
        for record in (*self._surroundings.at_the_end(self._step), *watched.allocator.remarks()):
            self._recording.add(record)

    def _attribute(self, error: BaseException | None) -> None:
        if error is not None and _outcome(error) == OUT_OF_MEMORY:
            batch_bytes, largest_bytes = self._surroundings.last_batch
            crash = self._attribution.crash(error)
            self._recording.add(replace(crash, batch_bytes=batch_bytes, largest_batch_bytes=largest_bytes))
        peak = self._attribution.peak(self._watched.peaks[0] if self._watched is not None else 0)
        for record in (*([peak] if peak is not None else ()), *self._attribution.remarks()):
            self._recording.add(record)

    def _verdict(self) -> Verdict:
        try:
            verdict = conclude(self._recording.run(), source_of)
            expected = tuple(self._watched.rises.found) if self._watched is not None else ()
            return replace(verdict, growth=replace(verdict.growth, expected=expected))
        except Exception as error:  # the program has done nothing wrong, and its own outcome must come out
            self._recording.add(Skipped("the verdict", f"memdoctor failed: {error!r}"))
            return Verdict(Growth("none", "This run could not be judged.", Confidence.LOW), ())

    def _end(self, error: BaseException | None) -> RunEnd:
        outcome = _outcome(error)
        message = f"{type(error).__name__}: {text_of(error)}" if outcome in (RAISED, OUT_OF_MEMORY) else ""
        peaks = self._watched.peaks if self._watched is not None else (0, 0)
        survived = self._surroundings.survived_refusals(ended_by_one=outcome == OUT_OF_MEMORY)
        return RunEnd(
            outcome, message, *peaks,
            survived_refusals=self._attribution.survived_refusals(error) or survived,
            survived_at=self._attribution.survived_at(error),
            precision=self._watched.precision if self._watched is not None else "",
            card_peaks=self._watched.card_peaks if self._watched is not None else (),
        )


def _outcome(error: BaseException | None) -> str:
    if error is None or isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
        return FINISHED
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return OUT_OF_MEMORY if is_out_of_memory(error) else RAISED
