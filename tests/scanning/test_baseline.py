"""A baseline hides what was there when it was written, and nothing that came later."""

from __future__ import annotations

from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Report
from memdoctor.scanning.baseline import only_new, write_baseline

LINES = ["import torch", "for x, y in loader:", "    loss = criterion(model(x), y)", "    loss.backward()"]
KEPT = "    kept.append(loss)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.py"


def _scan(path: Path, *lines: str) -> Report:
    path.write_text("\n".join([*LINES, *lines]), encoding="utf-8")
    return memdoctor.scan([path])


@pytest.fixture
def baseline(path: Path) -> Path:
    file = path.with_name("baseline.json")
    report = _scan(path, KEPT)
    assert len(report.findings) == 1
    write_baseline(report, file)
    return file


class TestOnlyNew:
    @pytest.mark.parametrize(
        ("lines", "new", "known"),
        [
            pytest.param([KEPT], 0, 1, id="unchanged"),
            pytest.param(["    # a comment", "", KEPT], 0, 1, id="moved"),
            pytest.param(["    if x:", f"    {KEPT}"], 0, 1, id="indented"),
            pytest.param([], 0, 0, id="repaired"),
            pytest.param([KEPT, "    other.append(loss)"], 1, 1, id="another one"),
            pytest.param([KEPT, KEPT], 1, 1, id="the same line a second time"),
        ],
    )
    def test_counts(self, path: Path, baseline: Path, lines: list[str], new: int, known: int) -> None:
        report = only_new(_scan(path, *lines), baseline)
        assert (len(report.findings), report.known) == (new, known)

    def test_the_rest_of_the_report_stays(self, baseline: Path) -> None:
        report = only_new(Report(hidden=3), baseline)
        assert report == Report(hidden=3)


class TestMistakes:
    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "findings": [5]}', '{"version": 9}'])
    def test_a_file_that_is_no_baseline(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match="baseline"):
            only_new(Report(), path)

    def test_no_file(self, path: Path) -> None:
        with pytest.raises(BadInput, match="(?s)cannot be read: No such file.*--write-baseline"):
            only_new(Report(), path)

    def test_a_place_that_cannot_be_written(self, path: Path) -> None:
        with pytest.raises(BadInput, match="cannot be written"):
            write_baseline(Report(), path / "x")
