"""Watches a training loop: a `with` block, a decorator or a wrapped loader, all of them one object.

::

    with memdoctor.profile() as prof: ...          prof.report
    @memdoctor.watch                               the report goes to standard error
    for batch in memdoctor.track(loader): ...      each batch is one iteration; one report when the program ends

Iterations are found from the program's own optimizer steps; `prof.step()` and `track` say it explicitly and win.
Counters are read at each iteration; the heap is walked only once growth is established.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar, overload

from memdoctor.foundation.errors import BadInput, MemdoctorError
from memdoctor.foundation.runs import RunReport
from memdoctor.foundation.tracebacks import chain_without_our_frames
from memdoctor.reports.run_text import run_text
from memdoctor.session import Session

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")

_STEPS = ("auto", "optimizer", "explicit")
_open: Profile | None = None


class Profile:
    """Watches while its `with` lasts, each call of the function it decorates, or each batch of the loader it tracks.

    `steps` says what ends an iteration: `optimizer` steps alone, `explicit` calls of `step()` alone, or `auto`, which
    also counts model calls in evaluation. `output` is a `.mdoc` file that `memdoctor report` reads. `at` is an
    iteration, from 0, after which the report says where the bytes are, as it does for the peak.
    """

    def __init__(
        self, *, steps: str = "auto", output: str | Path | None = None, program: str = "", at: int | None = None
    ) -> None:
        if steps not in _STEPS:
            raise BadInput(f"steps={steps!r} is not known.", f"Choose one of {', '.join(_STEPS)}.")
        self._steps = steps
        self._output = Path(output) if output is not None else None
        self._program = program
        self._at = at
        self._session: Session | None = None
        self._report: RunReport | None = None
        self._outer: Profile | None = None

    def __enter__(self) -> Profile:
        """Inside another profile it joins that one: a script that profiles itself runs under `memdoctor run`."""
        global _open
        if _open is not None:
            self._outer = _open
            return self
        session = Session(steps=self._steps, output=self._output, program=self._program, at=self._at)
        session.open()
        self._session, self._report, _open = session, None, self
        atexit.register(self.close_at_exit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _open
        if error is not None:
            chain_without_our_frames(error)
        if self._outer is not None:
            self._report, self._outer = self._outer.so_far(), None
            return
        _open = None
        atexit.unregister(self.close_at_exit)
        session, self._session = self._session, None
        if session is not None:
            self._report = session.close(error)

    @contextlib.contextmanager
    def one_loop(self) -> Iterator[None]:
        """One of several loops that are watched together; what the program does between them is not."""
        global _open
        if self._session is None:
            self.__enter__()
        else:
            self._session.resume()
            _open = self
        try:
            yield
        finally:
            _open = None
            if self._session is not None:  # the program may end within the loop
                self._session.pause()

    def close_at_exit(self) -> None:
        """The loops over `track` are over; of an error that ended one only the interpreter knows."""
        self.__exit__(None, getattr(sys, "last_value", None), None)
        show(self.report)

    def step(self) -> None:
        """End an iteration here; from the first call on, nothing else does."""
        if self._outer is not None:
            self._outer.step()
            return
        if self._session is None:
            raise BadInput("step() was called outside of the profile.", "Call it inside `with memdoctor.profile()`.")
        self._session.step()

    def so_far(self) -> RunReport:
        """What an open profile has seen until now; a verdict on growth may still change."""
        if self._session is None:
            return self.report
        return self._session.report()

    @property
    def report(self) -> RunReport:
        """What was found; made when the profile closes."""
        if self._report is None:
            raise MemdoctorError("The profile has no report yet.", "Ask for it after the `with` block.")
        return self._report

    def __str__(self) -> str:
        return run_text(self.so_far())

    def __call__(self, function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        """Watch each call of the function; inside an open profile it is simply called."""

        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise BadInput(
                f"{function.__name__} only begins its work when it is called.",
                "Write `with memdoctor.profile() as prof:` around the work itself.",
            )

        @functools.wraps(function)
        def watched(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            if _open is not None:
                return function(*args, **kwargs)
            with _shown(self):
                return function(*args, **kwargs)

        return watched


profile = Profile


@overload
def watch(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]: ...


@overload
def watch(
    *, steps: str = "auto", output: str | Path | None = None
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]: ...


def watch(
    function: Callable[_Parameters, _Result] | None = None, *, steps: str = "auto", output: str | Path | None = None
) -> object:
    """Watch each call of the decorated function and write the report to standard error when it returns.

    Works bare, `@watch`, and with arguments, `@watch(output="run.mdoc")`; they mean what they mean for `profile`.
    """
    if function is not None and not callable(function):
        raise BadInput(f"watch() got {function!r}, which is no function.", "Write `@memdoctor.watch` above a `def`.")
    decorate = Profile(steps=steps, output=output)
    return decorate if function is None else decorate(function)


class track(Generic[_Item]):  # noqa: N801  # used like `enumerate`, and named like it
    """Iterate over a loader; each batch is one iteration.

    All loops of a program are watched together, those of every epoch: the report goes to standard error when it ends,
    in an interactive session after each loop. Inside an open profile it marks that profile's iterations and reports
    nothing of its own.
    """

    def __init__(self, loader: Iterable[_Item], *, output: str | Path | None = None) -> None:
        self._loader = loader
        self._output = output

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]  # as for the loader itself, a TypeError if it has no length

    def __iter__(self) -> Iterator[_Item]:
        if _open is not None:
            yield from _steps_of(_open, self._loader)
            return
        own = tracked.setdefault(str(self._output or ""), Profile(steps="explicit", output=self._output))
        with own.one_loop():
            yield from _steps_of(own, self._loader)
        if hasattr(sys, "ps1"):
            show(own.so_far())


tracked: dict[str, Profile] = {}
"""What `track` watches, by the file that it is recorded to."""


def _steps_of(prof: Profile, loader: Iterable[_Item]) -> Iterator[_Item]:
    """No name here holds a batch: the program's own `del batch` must free it."""
    iterator = iter(loader)
    while True:
        try:
            yield next(iterator)
        except StopIteration:
            return
        prof.step()


@contextlib.contextmanager
def _shown(prof: Profile) -> Iterator[None]:
    """Open the profile, and show its report once it has closed, whatever ended it."""
    with contextlib.ExitStack() as after, prof:
        after.callback(lambda: show(prof.report))
        yield


def show(report: RunReport) -> None:
    """Write the report to standard error, on a line of its own: a progress bar leaves the last one unfinished."""
    print(f"\n{run_text(report)}", file=sys.stderr)
