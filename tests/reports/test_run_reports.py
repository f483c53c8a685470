"""Reports of hand-made runs against the golden files; `python -m tests.golden` writes those anew for review."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from memdoctor.foundation.findings import Severity
from memdoctor.foundation.locations import Location
from memdoctor.foundation.readings import Timeline
from memdoctor.foundation.runs import RAISED, RunEnd
from memdoctor.reports.run_json import run_json
from memdoctor.reports.run_text import run_text
from tests.golden.__main__ import FOLDER, reports
from tests.golden.records import CLEAN, EMPTY, LEAK


@pytest.mark.parametrize("name", sorted(reports()))
def test_a_report_reads_as_reviewed(name: str) -> None:
    assert reports()[name] == (FOLDER / name).read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    kept = {path.name for path in Path(FOLDER).iterdir() if path.is_file() and path.suffix != ".py"}
    assert kept == set(reports())


def test_the_first_line_is_the_answer() -> None:
    leak, clean = (run_text(report).splitlines()[0] for report in (LEAK, CLEAN))
    assert "Trainer.history['val_loss'] at image_trainer.py:46" in leak and "2.0 MiB more" in leak
    assert clean == "memdoctor: No leak: nothing outlives its iteration."


def test_the_json_has_the_keys_that_others_read() -> None:
    data = json.loads(run_json(LEAK))
    assert {"version", "device", "peak", "iterations", "growth", "findings", "skipped"} <= set(data)
    assert data["peak"] == {"allocated_bytes": 164 * 2**20, "reserved_bytes": 184 * 2**20}
    assert {"verdict", "bytes_per_step", "confidence", "full_at_step"} <= set(data["growth"])
    finding = data["findings"][0]
    assert finding["location"]["path"] == "image_trainer.py" and finding["location"]["line"] == 46
    wanted = {"name", "bytes_per_step", "host_bytes_per_step", "graph_nodes_per_step", "keeps_graph"}
    assert wanted <= set(finding["retainer"])


def test_a_card_that_is_full_when_nobody_runs_any_more_is_no_news() -> None:
    far = replace(LEAK, growth=replace(LEAK.growth, full_at_step=50_000_000))
    assert "full at iteration 20,000" in run_text(LEAK)
    assert "full at iteration" not in run_text(far)


def test_where_nothing_leaks_the_first_line_says_what_is_worth_a_change() -> None:
    remark = replace(LEAK.findings[0], code="MD201", name="eval-without-no-grad", location=Location("a.py", 15))
    seen = run_text(replace(CLEAN, remarks=(remark,))).split("\n\n")[0]
    assert " ".join(seen.split()).endswith("iteration. But see MD201, eval-without-no-grad, at a.py:15.")
    hint = replace(remark, severity=Severity.INFO)
    assert run_text(replace(CLEAN, remarks=(hint,))).startswith("memdoctor: No leak: nothing outlives its iteration.\n")


def test_a_program_that_ends_before_its_first_iteration_is_told_by_what() -> None:
    ended = replace(EMPTY, end=RunEnd(RAISED, "IndexError: index 5"))
    first_line = run_text(ended).splitlines()[0]
    assert first_line == "memdoctor: the program ended before its first iteration, by IndexError: index 5"


def test_iterations_of_both_phases_are_counted_apart() -> None:
    readings = CLEAN.timeline.readings
    both = Timeline((*readings[:2], readings[2]._replace(phase="eval")))
    assert "iterations  3 (train 2, eval 1)" in run_text(replace(CLEAN, timeline=both))
    some = Timeline((readings[0], *both.readings[2:]))
    assert run_text(replace(CLEAN, timeline=some)).endswith("iterations  3")
