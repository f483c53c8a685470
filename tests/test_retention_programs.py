"""Whole programs on the virtual card: who holds the memory, on which line, and how many bytes a step.

The expectations were worked out by hand from shapes: elements times four bytes, rounded up to blocks of 512.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from memdoctor.run import run

pytestmark = pytest.mark.usefixtures("searches_need_not_wait")

PROGRAMS = Path(__file__).parent / "retention_programs"


KEEPS = [
    pytest.param("asyncio_producer", "received", 15, 1024, False, id="a list in a coroutine that waits"),
    pytest.param("context_output", "ctx.y", 15, 1024, True, id="the output of a custom function on its ctx"),
    pytest.param("dataclass_state", "Progress.embeddings", 17, 2560, False, id="a field of a dataclass with slots"),
    pytest.param("decorator_history", "penalty.results", 13, 2048, True, id="a list on a decorated function"),
    pytest.param("epoch_lists", "Log.epochs", 15, 1024, False, id="one list for each epoch, all kept"),
    pytest.param("exceptions_kept", "Monitor.problems", 16, 4096, True, id="exceptions and what their frames hold"),
    pytest.param("generator_local", "served", 11, 1536, False, id="a generator that only the for statement holds"),
    pytest.param("metaclass_registry", "Registered.instances", 12, 2560, False, id="a registry of a metaclass"),
    pytest.param("named_tuples", "run.transitions", 21, 3072, False, id="named tuples in a namespace"),
    pytest.param("partial_callback", "sink", 10, 2560, False, id="a list bound by partial"),
    pytest.param("queue_and_thread", "results", 24, 512, False, id="a queue that nobody empties"),
    pytest.param("chained_errors", "last_error", 27, 1536, False, id="an exception and all those it was raised from"),
    pytest.param("context_variable", "trace", 11, 2560, False, id="a list in a context variable"),
    pytest.param("descriptor_versions", "Versioned.versions", 16, 1024, True, id="a descriptor that forgets nothing"),
    pytest.param("finalizers", "weakref.finalize", 18, 3584, False, id="arguments of finalizers"),
    pytest.param("forgotten_optimizers", "MetaLearner.inner", 18, 8 * 512, False, id="optimizers of earlier tasks"),
    pytest.param("future_results", "pending", 24, 2048, False, id="futures with their results"),
    pytest.param("heap_of_hard_examples", "Miner.heap", 15, 2560, False, id="a heap that is never popped"),
    pytest.param("hook_closure", "seen", 12, 8704, True, id="a list in the closure of a hook"),
    pytest.param("keyword_default", "_known", 8, 2560, False, id="a default that is made once, and filled late"),
    pytest.param("logging_records", "Trail.records", 15, 2048, True, id="records of a logging handler"),
    pytest.param("notebook_out", "Shell.user_ns['Out']", 19, 3072, True, id="the Out of a notebook"),
    pytest.param("suspended_generators", "Server.sessions", 22, 3072, False, id="generators that wait"),
    pytest.param("teed_loader", "training", 15, 2560, False, id="batches that a tee keeps for its other half"),
    pytest.param(
        "validation_outputs", "LitClassifier.validation_step_outputs", 21, 1024, False, id="two every third step"
    ),
    pytest.param("views_by_label", "gallery[*]", 11, 6144, False, id="rows that keep their whole batch"),
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


LETS_GO = [
    "best_of_five", "bounded_queue", "buffered_log", "cached_property_samples", "episodes", "image_pool",
    "lru_of_eight", "notebook_numbers", "optimizer_per_fold", "replay_deque", "replay_slots", "running_statistics",
    "swapped_teachers", "trimmed_windows", "validation_epochs", "weak_cache",
]


@pytest.mark.parametrize("program", LETS_GO)
def test_a_program_that_lets_go_is_left_alone(program: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    assert report.growth.verdict in ("none", "plateau")
    assert report.findings == ()


BOUNDED = [
    pytest.param("replay_deque", "memory fills, 1.0 KiB each", "10,000 elements, 9.8 MiB", id="the maxlen of a deque"),
    pytest.param("replay_slots", "Replay.slots fills, 2.0 KiB each", "200 elements, 400.0 KiB", id="slots made ahead"),
    pytest.param("trimmed_windows", "Smoother.outputs fills", "100 elements, 150.0 KiB", id="a while that pops"),
    pytest.param("trimmed_windows", "recent fills, 1.5 KiB", "WINDOW elements", id="a slice of the last ones"),
    pytest.param("image_pool", "ImagePool.images fills, 1.5 KiB each", "50 elements, 75.0 KiB", id="a pool_size"),
]


@pytest.mark.parametrize(("program", "rate", "limit"), BOUNDED)
def test_a_buffer_that_is_not_full_yet_is_named_with_what_it_will_hold(program: str, rate: str, limit: str) -> None:
    report = run(str(PROGRAMS / f"{program}.py"), [], module=False, card="a100-40gb", output=None).report
    assert report.growth.verdict == "plateau"
    assert rate in report.growth.explanation
    assert limit in report.growth.explanation


def test_threads_that_train_at_once_are_judged_by_what_variables_hold() -> None:
    """20 x 16 outputs, 1.5 KiB, once for each round of the two; where exactly a round ends is a race."""
    report = run(str(PROGRAMS / "training_threads.py"), [], module=False, card="a100-40gb", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None and finding.location is not None
    assert finding.retainer.name in ("kept", "history")
    assert finding.retainer.bytes_per_step == pytest.approx(1536, rel=0.2)
    assert "autograd graphs" in [skipped.what for skipped in report.skipped]


def test_without_a_card_the_host_is_counted() -> None:
    """30 x 12 outputs of 5 numbers: 600 bytes, which the host does not round."""
    report = run(str(PROGRAMS / "epoch_lists.py"), [], module=False, card="none", output=None).report
    (finding,) = report.findings
    assert finding.retainer is not None
    assert (finding.retainer.name, finding.retainer.bytes_per_step) == ("Log.epochs", 600)
