"""Reports of hand-made runs against the golden files; `python -m tests.golden` writes those anew for review."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memdoctor.reports.run_json import run_json
from memdoctor.reports.run_text import run_text
from tests.golden.__main__ import FOLDER, reports
from tests.golden.records import CLEAN, LEAK


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
