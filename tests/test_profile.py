"""One object, three forms: `with`, decorator, wrapped loader; and what they leave behind, which is nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import memdoctor
from memdoctor.foundation.errors import BadInput, MemdoctorError
from memdoctor.foundation.runs import OUT_OF_MEMORY, RAISED
from memdoctor.profile import tracked

pytestmark = pytest.mark.usefixtures("searches_need_not_wait")


@pytest.fixture(autouse=True)
def no_hook_is_left() -> Iterator[None]:
    yield
    assert not module_hooks._global_forward_pre_hooks and not module_hooks._global_forward_hooks
    assert not optimizer_hooks._global_optimizer_post_hooks


def train(steps: int) -> float:
    """A small training loop on the CPU."""
    torch.manual_seed(0)
    model = nn.Linear(256, 256)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        loss = model(torch.randn(8, 256)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_with_finds_the_iterations_by_itself() -> None:
    with memdoctor.profile() as prof:
        train(20)
    assert [reading.step for reading in prof.report.timeline.readings] == list(range(20))
    assert prof.report.growth.verdict == "none"
    assert str(prof).startswith("memdoctor: No leak")


def test_step_says_it_explicitly_and_wins() -> None:
    with memdoctor.profile() as prof:
        for _ in range(3):
            prof.step()
            train(2)
    assert len(prof.report.timeline.readings) == 3


def test_watch_reports_to_standard_error_and_returns_what_the_function_returns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched = memdoctor.watch(train)
    assert watched(20) == train(20)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("\nmemdoctor: No leak")
    assert watched.__name__ == "train" and watched.__doc__ == train.__doc__


def test_watch_takes_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @memdoctor.watch(output=tmp_path / "run.mdoc", steps="optimizer")
    def work(steps: int, *, scale: float) -> float:
        return train(steps) * scale

    assert work(4, scale=2.0) == 2 * train(4)
    assert len(memdoctor.read_run(tmp_path / "run.mdoc").timeline.readings) == 4


def test_a_watched_function_that_calls_itself_is_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    @memdoctor.watch
    def work(depth: int) -> int:
        return 0 if depth == 0 else 1 + work(depth - 1)

    assert work(3) == 3
    assert capsys.readouterr().err.count("memdoctor:") == 1


def end_of_program() -> None:
    """What the interpreter does with loops over `track` when it ends."""
    while tracked:
        tracked.popitem()[1].close_at_exit()


def test_track_makes_each_batch_an_iteration(capsys: pytest.CaptureFixture[str]) -> None:
    loader = memdoctor.track([1, 2, 3])
    assert len(loader) == 3 and list(loader) == [1, 2, 3]
    end_of_program()
    assert "iterations  3" in capsys.readouterr().err


def test_the_epochs_of_track_are_one_run_with_one_report(capsys: pytest.CaptureFixture[str]) -> None:
    kept = []
    for _ in range(4):
        for x in memdoctor.track([torch.ones(50) for _ in range(6)]):
            kept.append(x * 2)
        assert not optimizer_hooks._global_optimizer_post_hooks  # nothing is left between two loops
    assert capsys.readouterr().err == ""
    end_of_program()
    error = capsys.readouterr().err
    assert "iterations  24" in error and error.count("memdoctor:") == 1
    assert "kept" in error


def test_an_interactive_session_hears_after_each_loop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    for count in (3, 6):
        list(memdoctor.track([1, 2, 3]))
        assert f"iterations  {count}" in capsys.readouterr().err
    end_of_program()


def test_a_profile_between_two_loops_of_track_is_its_own() -> None:
    list(memdoctor.track([1, 2, 3]))
    with memdoctor.profile() as prof:
        train(2)
    list(memdoctor.track([1]))
    assert prof.report.timeline.iterations == 2
    assert tracked[""].so_far().timeline.iterations == 4
    end_of_program()


def test_track_in_an_open_profile_marks_its_iterations(capsys: pytest.CaptureFixture[str]) -> None:
    with memdoctor.profile() as prof:
        for _ in memdoctor.track(range(4)):
            train(2)
    assert capsys.readouterr().err == ""
    assert len(prof.report.timeline.readings) == 4 + 2  # the first batch's own two steps come before the first word


def test_a_loop_that_breaks_still_closes(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in memdoctor.track([1, 2, 3]):
        break
    end_of_program()
    assert capsys.readouterr().err.startswith("\nmemdoctor: ")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(ValueError("mine"), RAISED, id="an error"),
        pytest.param(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), OUT_OF_MEMORY, id="memory"),
    ],
)
def test_the_users_exception_comes_out_unchanged(error: Exception, outcome: str) -> None:
    prof = memdoctor.profile()
    with pytest.raises(type(error)) as raised, prof:
        raise error
    assert raised.value is error and error.__context__ is None
    assert prof.report.end.outcome == outcome


def test_the_users_traceback_has_his_frames_and_those_of_pytorch_only() -> None:
    output = torch.ones(2, requires_grad=True) * 2
    output.register_hook(lambda gradient: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised, memdoctor.profile():
        output.sum().backward()
    ours = str(Path(memdoctor.__file__).parent)
    assert not [frame for frame in traceback.extract_tb(raised.value.__traceback__) if ours in frame.filename]


def test_a_failure_of_memdoctor_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks inside a hook becomes `Skipped`, and the program computes on."""
    expected = train(5)
    monkeypatch.setattr("memdoctor.watched_device.resident_bytes", lambda: 1 / 0)
    with memdoctor.profile() as prof:
        assert train(5) == expected
    whys = [skipped.why for skipped in prof.report.skipped]
    assert whys == ["memdoctor failed at iteration 0: ZeroDivisionError('division by zero')"]
    assert prof.report.growth.explanation.startswith("This run could not be judged")


def test_a_ctrl_c_that_the_program_catches_does_not_end_the_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may arrive while memdoctor reads its counters."""
    with memdoctor.profile() as prof:
        prof.step()
        with monkeypatch.context() as patch:
            patch.setattr("memdoctor.watched_device.WatchedDevice.counters", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                prof.step()
        prof.step()
    assert len(prof.report.timeline.readings) == 2


def _interrupt(watched: object) -> None:
    raise KeyboardInterrupt


def test_a_verdict_that_fails_is_told_and_the_program_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memdoctor.session.conclude", lambda run, source: 1 / 0)
    with memdoctor.profile() as prof:
        train(3)
    assert prof.report.growth.explanation == "This run could not be judged."
    assert [skipped.what for skipped in prof.report.skipped] == ["the verdict"]


def test_a_profile_within_a_profile_joins_it() -> None:
    """A script that profiles itself must go on under `memdoctor run`."""
    with memdoctor.profile() as outer:
        train(3)
        with memdoctor.profile() as inner:
            train(2)
        train(4)
    assert len(inner.report.timeline.readings) == 5
    assert len(outer.report.timeline.readings) == 9


def test_other_processes_of_a_virtual_card_are_in_the_ledger_of_a_run() -> None:
    """A card without a context: what neither tensors nor the cache have is theirs or free."""
    with memdoctor.virtual_gpu("24GiB", other_bytes=2**30), memdoctor.profile() as prof:
        model = nn.Linear(8, 8).cuda()
        for _ in range(3):
            model(torch.ones(2, 8).cuda())
            prof.step()
    ledger = prof.report.ledger
    assert ledger is not None
    assert (ledger.others_bytes, ledger.context_bytes) == (2**30, 0)


def test_several_threads_lose_no_iteration() -> None:
    all_done = threading.Barrier(4)

    def work() -> None:
        for _ in range(50):
            prof.step()
        all_done.wait(timeout=60)

    with memdoctor.profile() as prof:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [reading.step for reading in prof.report.timeline.readings] == list(range(200))
    assert "several threads train at once" in prof.report.skipped[0].why


def test_track_holds_no_batch_that_the_program_has_let_go() -> None:
    held = []
    for batch in memdoctor.track(torch.ones(3) for _ in range(3)):
        reference = weakref.ref(batch)
        del batch
        held.append(reference() is not None)
    end_of_program()
    assert held == [False] * 3


def test_an_error_that_cannot_be_printed_comes_out_unchanged() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise AttributeError("no text")

    error = Mute()
    prof = memdoctor.profile()
    with pytest.raises(Mute) as raised, prof:
        raise error
    assert raised.value is error and prof.report.end.message == "Mute: "


def test_an_output_that_cannot_be_written_is_said_also_by_watch_and_track(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        memdoctor.watch(output=tmp_path)(train)(1)
    with pytest.raises(BadInput, match="cannot be written"):
        list(memdoctor.track([1], output=tmp_path))
    tracked.clear()


def test_a_coroutine_function_is_refused_in_words() -> None:
    async def work() -> None: ...

    with pytest.raises(BadInput, match="work only begins its work"):
        memdoctor.watch(work)


def test_a_forked_child_leaves_the_recording_to_its_parent(tmp_path: Path) -> None:
    with memdoctor.profile(output=tmp_path / "run.mdoc") as prof:
        train(3)
        child = os.fork()
        if child == 0:
            prof.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        train(2)
    assert len(memdoctor.read_run(tmp_path / "run.mdoc").timeline.readings) == 5


@pytest.mark.parametrize(
    ("use", "says"),
    [
        pytest.param(lambda: memdoctor.profile(steps="batches"), "steps='batches'", id="unknown steps"),
        pytest.param(lambda: memdoctor.watch(3), "got 3, which is no function", id="watch of a number"),
        pytest.param(lambda: memdoctor.profile().step(), "outside of the profile", id="step without with"),
        pytest.param(lambda: memdoctor.profile().report, "no report yet", id="report before the end"),
    ],
)
def test_wrong_use_is_named(use: object, says: str) -> None:
    with pytest.raises(MemdoctorError, match=says):
        use()  # type: ignore[operator]  # each is a lambda


LEAKING = """
    import sys, torch, memdoctor

    def train(steps, keep):
        model = torch.nn.Linear(256, 256)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(8, 256)).square().mean().backward()
            optimizer.step()
            keep.append(model(torch.randn(8, 256)).exp())

    base = torch.zeros(4, requires_grad=True).clone()
    with torch.no_grad():
        refuses = base[:2]  # a view that raises when it is asked for its graph, once its base has been changed
    base.mul_(2)

    kept = []
    with memdoctor.profile(output=sys.argv[1]):
        train(40, kept)
"""


def test_a_leak_on_the_cpu_is_found_without_a_card_and_named(tmp_path: Path) -> None:
    """In a process of its own: the heap of a test session is large. A tensor that refuses to be read hides nothing."""
    script, recording = tmp_path / "train.py", tmp_path / "run.mdoc"
    script.write_text(textwrap.dedent(LEAKING))
    subprocess.run([sys.executable, str(script), str(recording)], check=True, timeout=120)
    report = memdoctor.read_run(recording)
    (finding,) = report.findings
    assert (report.growth.verdict, finding.variable) == ("leak", "kept")
    assert finding.location is not None and finding.location.path.endswith("train.py")
    assert finding.excerpt.strip().startswith("keep.append(")


def test_the_public_names_are_functions_whatever_was_imported_first() -> None:
    import memdoctor.profile as by_import
    import memdoctor.scan as scan_by_import

    assert memdoctor.profile is by_import and callable(by_import)
    assert memdoctor.scan is scan_by_import and callable(scan_by_import)
