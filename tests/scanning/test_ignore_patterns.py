"""Patterns mean what they mean to git: each case is also put to `git check-ignore`, where there is a git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from memdoctor.scanning.ignore_patterns import is_ignored, patterns_above, patterns_in

CASES = [
    pytest.param("old.py", "a/old.py", True, id="a name matches at any depth"),
    pytest.param("/old.py", "a/old.py", False, id="a leading slash anchors"),
    pytest.param("/old.py", "old.py", True, id="a leading slash matches here"),
    pytest.param("a/old.py", "b/a/old.py", False, id="a slash inside anchors"),
    pytest.param("*.py", "a/b/x.py", True, id="a star"),
    pytest.param("a/*.py", "a/b/x.py", False, id="a star stops at a slash"),
    pytest.param("a/**/x.py", "a/x.py", True, id="two stars match nothing"),
    pytest.param("a/**/x.py", "a/b/c/x.py", True, id="two stars match folders"),
    pytest.param("**/b/x.py", "a/b/x.py", True, id="two stars in front"),
    pytest.param("a/**", "a/b/x.py", True, id="two stars at the end"),
    pytest.param("x?.py", "x1.py", True, id="a question mark"),
    pytest.param("x?.py", "x12.py", False, id="a question mark is one character"),
    pytest.param("x[0-3].py", "x2.py", True, id="a class"),
    pytest.param("x[!0-3].py", "x2.py", False, id="a negated class"),
    pytest.param("x[]a].py", "x].py", True, id="a class that holds its end"),
    pytest.param("x[^a].py", "xb.py", True, id="the other negated class"),
    pytest.param("*.py\n!keep.py", "keep.py", False, id="a later line takes back"),
    pytest.param("!keep.py\n*.py", "keep.py", True, id="an earlier line does not"),
    pytest.param("# x.py", "x.py", False, id="a comment"),
    pytest.param("\\#x.py", "#x.py", True, id="an escaped comment sign"),
    pytest.param("\\!x.py", "!x.py", True, id="an escaped exclamation mark"),
    pytest.param("x.py   ", "x.py", True, id="spaces at the end"),
    pytest.param("x.py/", "x.py", False, id="folders only"),
    pytest.param("x[z-a].py", "xb.py", False, id="a class without members"),
]


@pytest.mark.parametrize(("lines", "path", "expected"), CASES)
def test_a_pattern_means_what_git_says(tmp_path: Path, lines: str, path: str, expected: bool) -> None:
    (tmp_path / ".gitignore").write_text(lines + "\n", encoding="utf-8")
    assert is_ignored(patterns_in(str(tmp_path)), str(tmp_path / path), is_folder=False) == expected
    if shutil.which("git"):
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, timeout=60)
        asked = subprocess.run(["git", "check-ignore", "-q", path], cwd=tmp_path, timeout=60)
        assert (asked.returncode == 0) == expected


def test_folders_only(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("build/\n", encoding="utf-8")
    patterns = patterns_in(str(tmp_path))
    assert is_ignored(patterns, str(tmp_path / "src/build"), is_folder=True)
    assert not is_ignored(patterns, str(tmp_path / "src/build"), is_folder=False)


def test_the_folders_above_count_up_to_the_root_of_the_repository(tmp_path: Path) -> None:
    inner = tmp_path / "repository" / "inner"
    (inner / "src").mkdir(parents=True)
    for folder, line in ((tmp_path, "outside.py"), (inner.parent, "root.py"), (inner, "inner.py")):
        (folder / ".gitignore").write_text(line, encoding="utf-8")
    assert patterns_above(str(inner / "src")) == []
    (inner.parent / ".git").mkdir()
    found = patterns_above(str(inner / "src"))
    names = ("outside.py", "root.py", "inner.py")
    assert [is_ignored(found, str(inner / "src" / name), is_folder=False) for name in names] == [False, True, True]


def test_a_pattern_does_not_reach_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".gitignore").write_text("*.py", encoding="utf-8")
    assert not is_ignored(patterns_in(str(tmp_path / "a")), str(tmp_path / "ab" / "x.py"), is_folder=False)
