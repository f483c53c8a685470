"""A cached scan says what a fresh one says, whatever happened to the files, the rules, or the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.findings import Report
from memdoctor.scanning.cache import FOLDER

LEAK = "import torch\nfor x, y in loader:\n    loss = criterion(model(x), y)\n    loss.backward()\n    "


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As many files as a cache is used for; the first holds a finding."""
    for number in range(30):
        (tmp_path / f"{number:02}.py").write_text(f"import torch\nx = {number}\n", encoding="utf-8")
    (tmp_path / "00.py").write_text(f"{LEAK}kept.append(loss)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _scan(**options: object) -> Report:
    return memdoctor.scan(["."], **options, cached=True)


@pytest.fixture
def warm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """The report that is in the cache; from here on, a file that is parsed is an error."""
    report = _scan()
    assert len(report.findings) == 1

    def parsed(*asked: object) -> None:
        raise AssertionError("a file was parsed")

    monkeypatch.setattr("memdoctor.scanning.one_file.Source", parsed)
    return report


def _parses(**options: object) -> bool:
    return any("a file was parsed" in item.why for item in _scan(**options).skipped)


def test_unchanged_files_are_not_parsed(warm: Report) -> None:
    assert _scan() == warm


@pytest.mark.usefixtures("warm")
class TestIsAskedAgain:
    def test_when_a_file_changed(self, folder: Path) -> None:
        (folder / "01.py").write_text("import torch\nx = 'new'\n", encoding="utf-8")
        assert _parses()

    def test_when_a_file_has_another_name(self, folder: Path) -> None:
        (folder / "01.py").rename(folder / "test_01.py")
        assert _parses()

    def test_when_other_rules_are_asked(self) -> None:
        assert _parses(ignore=["MD101"])

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1", "reports": {}}'])
    def test_when_the_cache_is_broken(self, folder: Path, content: str) -> None:
        (folder / FOLDER / "scan.json").write_text(content, encoding="utf-8")
        assert _parses()

    def test_when_a_report_in_it_is_broken(self, folder: Path) -> None:
        path = folder / FOLDER / "scan.json"
        path.write_text(path.read_text(encoding="utf-8").replace('"severity"', '"s"'), encoding="utf-8")
        assert _parses()

    def test_when_memdoctor_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("memdoctor.scanning.cache.__version__", "0.2")
        assert _parses()


class TestTheCache:
    def test_is_ignored_by_git(self, warm: Report, folder: Path) -> None:
        assert (folder / FOLDER / ".gitignore").read_text(encoding="utf-8") == "*\n"
        assert sorted(path.name for path in (folder / FOLDER).iterdir()) == [".gitignore", "scan.json"]

    def test_that_cannot_be_written_is_as_good_as_none(self, folder: Path) -> None:
        (folder / FOLDER).write_text("in the way", encoding="utf-8")
        assert len(_scan().findings) == 1

    def test_is_not_made_for_a_few_files(self, folder: Path) -> None:
        memdoctor.scan(["00.py", "01.py"], cached=True)
        assert not (folder / FOLDER).exists()

    def test_forgets_no_other_folder(self, warm: Report, folder: Path) -> None:
        """Two folders that are scanned in turn stay known both."""
        (folder / "other").mkdir()
        for number in range(30):
            (folder / "other" / f"{number}.py").write_text("x = 1  # no mention\n", encoding="utf-8")
        memdoctor.scan(["other"], cached=True)
        assert not _parses()
