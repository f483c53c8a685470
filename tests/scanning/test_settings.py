"""Settings come from the nearest section, and arguments go before them; a section that is wrong is said by name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.errors import BadInput, UnknownRule
from memdoctor.foundation.findings import Confidence

LEAK = """import torch
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    kept.append(loss)
"""
BY_NAME_ONLY = "import torch\ndef evaluate(model, x):\n    return model(x).argmax().item()\n"
needs_toml = pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(LEAK, encoding="utf-8")


def _codes(path: Path, **options: object) -> list[str]:
    return [finding.code for finding in memdoctor.scan([path], **options).findings]


def _ini(folder: Path, *lines: str) -> None:
    (folder / "setup.cfg").write_text("[memdoctor]\n" + "\n".join(lines), encoding="utf-8")


class TestSections:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("setup.cfg", "[memdoctor]\nignore = MD401, loss-kept-with-graph\n"),
            ("setup.cfg", "[memdoctor]\nignore =\n    MD401\n    MD101\n"),
            ("setup.cfg", "[memdoctor]\nselect = MD201\n"),
            ("setup.cfg", "[memdoctor]\nexclude = train.py\n"),
            pytest.param("pyproject.toml", '[tool.memdoctor]\nignore = ["MD101"]\n', marks=needs_toml),
            pytest.param("pyproject.toml", '[tool.memdoctor]\nexclude = "src/"\n', marks=needs_toml),
        ],
    )
    def test_a_setting_counts(self, tmp_path: Path, name: str, text: str) -> None:
        assert _codes(tmp_path) == ["MD101"]
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert _codes(tmp_path) == []

    def test_the_nearest_section_counts_alone(self, tmp_path: Path) -> None:
        _ini(tmp_path, "ignore = MD101")
        _ini(tmp_path / "src", "ignore = MD401")
        assert _codes(tmp_path) == ["MD101"]

    def test_a_file_without_a_section_is_not_the_nearest(self, tmp_path: Path) -> None:
        _ini(tmp_path, "ignore = MD101")
        (tmp_path / "src" / "setup.cfg").write_text("[flake8]\n", encoding="utf-8")
        assert _codes(tmp_path) == []

    def test_above_the_root_of_the_repository_nothing_counts(self, tmp_path: Path) -> None:
        _ini(tmp_path, "ignore = MD101")
        (tmp_path / "src" / ".git").mkdir()
        assert _codes(tmp_path / "src") == ["MD101"]

    def test_patterns_are_relative_to_the_section(self, tmp_path: Path) -> None:
        _ini(tmp_path, "exclude = /train.py")
        assert _codes(tmp_path) == ["MD101"]

    def test_what_was_named_is_not_excluded(self, tmp_path: Path) -> None:
        _ini(tmp_path, "exclude = train.py")
        assert _codes(tmp_path / "src" / "train.py") == ["MD101"]

    def test_min_confidence(self, tmp_path: Path) -> None:
        (tmp_path / "src" / "train.py").write_text(BY_NAME_ONLY, encoding="utf-8")
        assert _codes(tmp_path) == ["MD201"]
        _ini(tmp_path, "min-confidence = high")
        assert memdoctor.scan([tmp_path]).hidden == 1


class TestArgumentsGoBefore:
    def test_codes(self, tmp_path: Path) -> None:
        _ini(tmp_path, "select = MD201", "ignore = MD101")
        assert _codes(tmp_path, select=["MD101"], ignore=["MD401"]) == ["MD101"]

    def test_confidence(self, tmp_path: Path) -> None:
        (tmp_path / "src" / "train.py").write_text(BY_NAME_ONLY, encoding="utf-8")
        _ini(tmp_path, "min-confidence = high")
        assert _codes(tmp_path, min_confidence=Confidence.LOW) == ["MD201"]


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("confidence = high", r"setup.cfg: memdoctor has no setting 'confidence'.\nThere are: exclude"),
            ("min-confidence = 5", "setup.cfg: min-confidence is '5'.\nThere are: high, medium, low."),
            ("select = MD1O1", r"setup.cfg: No rule is called 'MD1O1'.\nDid you mean: MD101"),
            ("no value", "setup.cfg cannot be read: .*no value"),
        ],
    )
    def test_are_said_with_the_file(self, tmp_path: Path, line: str, message: str) -> None:
        _ini(tmp_path, line)
        with pytest.raises((BadInput, UnknownRule), match=f"(?s){message}"):
            memdoctor.scan([tmp_path])

    @needs_toml
    @pytest.mark.parametrize("text", [
        "[tool.memdoctor]\nselect = 5\n", "[tool.memdoctor]\nselect = [\n", "[tool.memdoctor\nselect = 5\n",
    ])
    def test_in_toml(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match="pyproject.toml"):
            memdoctor.scan([tmp_path])


@needs_toml
def test_a_broken_toml_of_others_is_left_to_them(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.other\n", encoding="utf-8")
    assert not memdoctor.scan([tmp_path]).skipped


def test_a_python_without_toml_says_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_tomllib(name: str) -> object:
        raise ModuleNotFoundError(name)

    settings = importlib.import_module("memdoctor.scanning.settings")
    monkeypatch.setattr(settings.importlib, "import_module", no_tomllib)
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.memdoctor]\nignore = ["MD101"]\n', encoding="utf-8")
    (skipped,) = memdoctor.scan([tmp_path]).skipped
    assert skipped.what == str(path)
    assert "setup.cfg" in skipped.why
