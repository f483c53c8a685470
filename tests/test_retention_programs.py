"""Whole programs on the virtual card: who holds the memory, on which line, and how many bytes a step.

The expectations were worked out by hand from shapes: elements times four bytes, rounded up to blocks of 512.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from memdoctor.run import run

PROGRAMS = Path(__file__).parent / "retention_programs"


@pytest.fixture(autouse=True)
def searches_need_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heap of a test session is large, and these programs are over before searching it has become cheap."""
    monkeypatch.setattr("memdoctor.sensing.census._FREE_SECONDS", 1e6)
    monkeypatch.setattr("memdoctor.sensing.looker._FREE_SECONDS", 1e6)


KEEPS = [
    pytest.param("asyncio_producer", "received", 15, 1024, False, id="a list in a coroutine that waits"),
    pytest.param("context_output", "ctx.y", 11, 1024, True, id="the output of a custom function on its ctx"),
    pytest.param("dataclass_state", "Progress.embeddings", 17, 2560, False, id="a field of a dataclass with slots"),
    pytest.param("decorator_history", "penalty.results", 13, 2048, True, id="a list on a decorated function"),
    pytest.param("epoch_lists", "Log.epochs", 15, 1024, False, id="one list for each epoch, all kept"),
    pytest.param("exceptions_kept", "Monitor.problems", 16, 4096, True, id="exceptions and what their frames hold"),
    pytest.param("generator_local", "served", 11, 1536, False, id="a generator that only the for statement holds"),
    pytest.param("metaclass_registry", "Registered.instances", 12, 2560, False, id="a registry of a metaclass"),
    pytest.param("named_tuples", "run.transitions", 21, 3072, False, id="named tuples in a namespace"),
    pytest.param("partial_callback", "sink", 10, 2560, False, id="a list bound by partial"),
    pytest.param("queue_and_thread", "results", 24, 512, False, id="a queue that nobody empties"),
    pytest.param("retained_hook", "net[1]._forward_hooks", 12, 3072, False, id="hooks that are never removed"),
]


@pytest.mark.parametrize(("program", "name", "line", "bytes_per_step", "keeps_graph"), KEEPS)
def test_the_holder_is_named_with_its_line_and_bytes(
    program: str, name: str, line: int, bytes_per_step: int, keeps_graph: bool
) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert report.growth.verdict == "leak"
    assert (finding.retainer.name, finding.location.line) == (name, line)
    assert (finding.retainer.bytes_per_step, finding.retainer.keeps_graph) == (bytes_per_step, keeps_graph)


@pytest.mark.parametrize("program", ["optimizer_per_fold", "running_statistics", "weak_cache"])
def test_a_program_that_lets_go_is_left_alone(program: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    assert report.growth.verdict in ("none", "plateau")
    assert report.findings == ()


def test_without_a_card_the_host_is_counted() -> None:
    """30 x 12 outputs of 5 numbers: 600 bytes, which the host does not round."""
    report = run(str(PROGRAMS / "epoch_lists.py"), [], module=False, card="none", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None
    assert (finding.retainer.name, finding.retainer.bytes_per_step) == ("Log.epochs", 600)
