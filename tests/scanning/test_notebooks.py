"""Findings of a notebook name the cell and the line in it; what only IPython understands does not disturb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.findings import Finding

LOOP = """for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    kept.append(loss)"""


def _notebook(*cells: str | tuple[str, str], **metadata: object) -> str:
    kinds = [cell if isinstance(cell, tuple) else ("code", cell) for cell in cells]
    listed = [{"cell_type": kind, "source": source.splitlines(keepends=True)} for kind, source in kinds]
    return json.dumps({"cells": listed, "metadata": metadata, "nbformat": 4})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "explore.ipynb"


def _findings(path: Path, *cells: str | tuple[str, str], **metadata: object) -> list[Finding]:
    path.write_text(_notebook("import torch", *cells, **metadata), encoding="utf-8")
    return list(memdoctor.scan([path]).findings)


class TestPlaces:
    def test_name_the_cell_and_the_line_in_it(self, path: Path) -> None:
        (finding,) = _findings(path, ("markdown", "# torch"), LOOP)
        assert str(finding.location) == f"{path}:cell 3:4"
        assert finding.excerpt == "    kept.append(loss)"

    def test_a_function_of_one_cell_is_known_in_the_next(self, path: Path) -> None:
        step = "def step(x, y):\n    loss = criterion(model(x), y)\n    loss.backward()\n    return loss"
        (finding,) = _findings(path, step, "for x, y in loader:\n    kept.append(step(x, y))")
        assert str(finding.location) == f"{path}:cell 3:2"

    def test_a_notebook_is_found_in_a_folder(self, path: Path) -> None:
        assert len(_findings(path, LOOP)) == 1
        assert len(memdoctor.scan([path.parent]).findings) == 1

    def test_the_source_of_a_cell_may_be_one_string(self, path: Path) -> None:
        cells = [{"cell_type": "code", "source": f"import torch\n{LOOP}"}]
        path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        assert [str(finding.location) for finding in memdoctor.scan([path]).findings] == [f"{path}:cell 1:5"]

    def test_a_comment_leaves_a_line_alone(self, path: Path) -> None:
        assert _findings(path, f"{LOOP}  # memdoctor: ignore[MD101]") == []


class TestWhatOnlyIpythonUnderstands:
    @pytest.mark.parametrize(
        "lines",
        [
            "%matplotlib inline",
            "!pip install torch",
            "!pip install \\\n  torch \\\n  timm",
            "files = !ls",
            "out = %timeit -o f()",
            "model?",
            "??model.forward",
            "if x:\n    !ls",
            "value = await fetch()",
            "x = (a\n     % b)",
        ],
    )
    def test_does_not_move_the_lines(self, path: Path, lines: str) -> None:
        (finding,) = _findings(path, f"{lines}\n{LOOP}")
        assert finding.location is not None
        assert finding.location.line == lines.count("\n") + 5
        assert memdoctor.scan([path]).skipped == ()

    def test_a_timed_cell_is_python(self, path: Path) -> None:
        (finding,) = _findings(path, f"\n%%time\n{LOOP}")
        assert str(finding.location) == f"{path}:cell 2:6"

    @pytest.mark.parametrize("magic", ["bash", "html", "writefile train.py"])
    def test_a_cell_in_another_language_is_not(self, path: Path, magic: str) -> None:
        (finding,) = _findings(path, f"%%{magic}\n{LOOP}", LOOP)
        assert str(finding.location) == f"{path}:cell 3:4"


class TestWhatIsSkipped:
    def test_a_broken_cell_costs_that_cell(self, path: Path) -> None:
        (finding,) = _findings(path, "print 'x'", LOOP)
        assert str(finding.location) == f"{path}:cell 3:4"
        (skipped,) = memdoctor.scan([path]).skipped
        assert (skipped.what, skipped.why) == (f"{path}:cell 2", "not Python 3")

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("torch", "not a notebook of format 4"),
            ("[\"torch\"]", "not a notebook of format 4"),
            ('{"worksheets": [], "torch": 1}', "not a notebook of format 4"),
            ('{"cells": [{"cell_type": "code", "source": 5}], "torch": 1}', "not a notebook of format 4"),
            (_notebook("torch", language_info={"name": "R"}), "a notebook in r"),
        ],
    )
    def test_a_file_that_cannot_be_read(self, path: Path, content: str, why: str) -> None:
        path.write_text(content, encoding="utf-8")
        assert [item.why for item in memdoctor.scan([path]).skipped] == [why]
