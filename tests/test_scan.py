"""What is scanned, what is left out, and what cannot be read: never a traceback."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.errors import BadInput, UnknownRule
from memdoctor.foundation.findings import Confidence, Finding, Report, Severity
from memdoctor.rules import Rule, Source
from memdoctor.scanning.reading import LARGEST_FILE_BYTES

LEAK = """import torch
def train(model, loader, criterion):
    total = 0
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        total += loss
"""
BY_NAME_ONLY = "import torch\ndef evaluate(model, x):\n    return model(x).argmax().item()\n"


def _write(folder: Path, name: str, content: str | bytes = LEAK) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _places(*paths: object, **options: object) -> list[str]:
    return [str(finding.location) for finding in memdoctor.scan([str(path) for path in paths], **options).findings]


def _codes(path: Path, **options: object) -> list[str]:
    return [finding.code for finding in memdoctor.scan([str(path)], **options).findings]


def _why_skipped(path: Path) -> str:
    report = memdoctor.scan([path])
    assert [item.what for item in report.skipped] == [str(path)]
    assert report.findings == ()
    return report.skipped[0].why


class TestWhatIsScanned:
    def test_a_file_is_reported_as_it_was_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _write(tmp_path, "train.py")
        monkeypatch.chdir(tmp_path)
        assert _places("train.py") == ["train.py:7"]

    def test_a_named_file_needs_no_suffix(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "train")
        assert _places(path) == [f"{path}:7"]

    def test_a_folder_is_searched_in_order(self, tmp_path: Path) -> None:
        paths = [_write(tmp_path, name) for name in ("a.py", "b/c.py", "b/d.py")]
        _write(tmp_path, "notes.txt")
        assert _places(tmp_path) == [f"{path}:7" for path in paths]

    def test_a_glob_is_expanded(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "deep/er/train.py")
        assert _places(tmp_path / "**" / "tr*.py") == [f"{path}:7"]

    def test_a_file_named_twice_is_scanned_once(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "train.py")
        assert _places(path, path, tmp_path) == [f"{path}:7"]

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(LEAK.encode())))
        assert _places("-") == ["<stdin>:7"]

    @pytest.mark.parametrize("folder", [".git", "__pycache__", ".tox", "node_modules"])
    def test_left_out_by_convention(self, tmp_path: Path, folder: str) -> None:
        _write(tmp_path, f"{folder}/train.py")
        _write(tmp_path, "clean.py", "import torch\n")
        assert memdoctor.scan([tmp_path]) == Report()

    @pytest.mark.parametrize("folder", ["vendor", "third_party", "site-packages"])
    def test_code_of_others_is_left_out(self, tmp_path: Path, folder: str) -> None:
        path = _write(tmp_path, f"src/{folder}/train.py")
        assert _places(tmp_path) == []
        assert _places(path.parent) == [f"{path}:7"]

    def test_what_git_ignores_is_left_out(self, tmp_path: Path) -> None:
        _write(tmp_path, ".gitignore", "/build/\nold_*.py\n")
        _write(tmp_path, "src/.gitignore", "!old_keep.py\n")
        for name in ("build/a.py", "src/old_a.py", "src/deep/old_b.py"):
            _write(tmp_path, name)
        kept = [_write(tmp_path, name) for name in ("src/build/a.py", "src/old_keep.py")]
        assert _places(tmp_path) == [f"{path}:7" for path in kept]

    def test_an_ignored_file_is_scanned_when_named(self, tmp_path: Path) -> None:
        _write(tmp_path, ".gitignore", "*.py")
        path = _write(tmp_path, "train.py")
        assert _places(path) == [f"{path}:7"]

    def test_excluded_patterns(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("train.py", "legacy/train.py", "src/old.py"):
            _write(tmp_path, name)
        monkeypatch.chdir(tmp_path)
        assert _places(".", exclude=["legacy/", "old.py"]) == ["train.py:7"]
        assert _places("**/*.py", "train.py", exclude=["legacy/*", "old.py"]) == ["train.py:7"]

    def test_a_virtual_environment_is_left_out_whatever_its_name(self, tmp_path: Path) -> None:
        _write(tmp_path, "my_env/pyvenv.cfg", "")
        _write(tmp_path, "my_env/lib/train.py")
        assert _places(tmp_path) == []

    def test_a_folder_left_out_by_convention_is_scanned_when_named(self, tmp_path: Path) -> None:
        path = _write(tmp_path, ".tox/train.py")
        assert _places(path.parent) == [f"{path}:7"]

    def test_links_that_go_round_end(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "package/train.py")
        (path.parent / "again").symlink_to(tmp_path, target_is_directory=True)
        assert _places(tmp_path) == [f"{path}:7"]

    def test_a_path_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="nowhere.py: no such file or folder"):
            memdoctor.scan([tmp_path / "nowhere.py"])

    def test_a_glob_without_a_match(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no such file"):
            memdoctor.scan([tmp_path / "*.py"])

    @pytest.mark.parametrize("name", ["", "./"])
    def test_files_of_the_working_directory_are_named_shortly(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    ) -> None:
        _write(tmp_path, "src/train.py")
        monkeypatch.chdir(tmp_path)
        assert _places(".") == _places(f"{name}src") == ["src/train.py:7"]

    def test_a_folder_with_nothing_to_scan_is_said(self, tmp_path: Path) -> None:
        _write(tmp_path, "notes.txt")
        assert _why_skipped(tmp_path) == "no Python file or notebook in it"


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("content", "why"),
        [
            pytest.param("import torch\nprint 'x'\n", "not Python 3: .*line 2", id="Python 2"),
            pytest.param("import torch\n\tx = 1\n", "not Python 3: unexpected indent", id="indentation"),
            pytest.param(b"import torch\nname = '\xe9'\n", "not utf-8", id="latin-1 without a cookie"),
            pytest.param(b"# coding: klingon\nimport torch\n", "unknown encoding: klingon", id="unknown encoding"),
            pytest.param(b"import torch\nx = '\0'\n", "null byte", id="null byte"),
            pytest.param("import torch\nx = " + "(" * 5000 + ")" * 5000, "nested|too many", id="nested parentheses"),
            pytest.param("import torch\nx = " + "-" * 50000 + "1\n", "nested", id="nested operators"),
            pytest.param("import torch\nx = 1" + " + 1" * 50000 + "\n", "nested", id="a sum of 50,000 terms"),
        ],
    )
    def test_a_broken_file(self, tmp_path: Path, content: str | bytes, why: str) -> None:
        path = _write(tmp_path, "broken.py", content)
        assert re.search(why, _why_skipped(path))

    def test_a_large_file(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "data.py", "#" * (LARGEST_FILE_BYTES + 1))
        assert _why_skipped(path) == "10.0 MiB, larger than 10.0 MiB"

    def test_a_pipe_is_not_opened(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.py")
        assert _why_skipped(tmp_path / "pipe.py") == "not a regular file"

    def test_a_device_is_not_opened(self) -> None:
        assert _why_skipped(Path("/dev/zero")) == "not a regular file"

    def test_a_link_to_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
        assert _why_skipped(tmp_path / "gone.py") == "No such file or directory"

    def test_a_broken_file_does_not_stop_the_others(self, tmp_path: Path) -> None:
        _write(tmp_path, "a.py", "import torch\nprint 'x'\n")
        path = _write(tmp_path, "b.py")
        assert _places(tmp_path) == [f"{path}:7"]

    def test_a_fault_of_a_rule_costs_one_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def faulty(source: Source) -> Iterator[Finding]:
            raise KeyError("oops")

        monkeypatch.setattr("memdoctor.scanning.questions.ALL_RULES", (Rule("MD999", "faulty", Severity.INFO, faulty),))
        assert _why_skipped(_write(tmp_path, "a.py")) == "memdoctor failed on it, please report this: KeyError: 'oops'"

    def test_a_file_without_torch_is_not_parsed(self, tmp_path: Path) -> None:
        _write(tmp_path, "other.py", "print 'x'\n")
        assert memdoctor.scan([tmp_path]).skipped == ()

    def test_unless_it_was_named(self, tmp_path: Path) -> None:
        """Who names a file expects an answer about it; there are none the less no findings."""
        assert _why_skipped(_write(tmp_path, "other.py", "print 'x'\n")).startswith("not Python 3")
        assert memdoctor.scan([_write(tmp_path, "fine.py", "model.eval()\nshow(model(x))\n")]) == Report()


class TestEncodings:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"\xef\xbb\xbf" + LEAK.encode(), id="byte order mark"),
            pytest.param(b"# coding: latin-1\n# \xe9\n" + LEAK.encode(), id="coding cookie"),
            pytest.param(LEAK.replace("\n", "\r\n").encode(), id="carriage returns"),
            pytest.param(LEAK.replace("    ", "\t").encode(), id="tabs"),
            pytest.param(LEAK.replace("def", "\f\ndef").encode(), id="form feed"),
        ],
    )
    def test_is_read_as_python_reads_it(self, tmp_path: Path, content: bytes) -> None:
        report = memdoctor.scan([_write(tmp_path, "train.py", content)])
        assert [finding.variable for finding in report.findings] == ["total"]

    def test_columns_count_characters(self, tmp_path: Path) -> None:
        text = "import torch\nfor é, y in loader:\n    é = criterion(model(é), y); é.backward(); kept.append(é)\n"
        report = memdoctor.scan([_write(tmp_path, "train.py", text)], select=["MD101"])
        location = report.findings[0].location
        assert location is not None
        assert text.split("\n")[2][location.column - 1:] == "kept.append(é)"


class TestSelection:
    def test_only_selected_rules(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "train.py")
        assert _places(path, select=["MD201"]) == []
        assert _places(path, select=["md101"]) == _places(path, select=["loss-kept-with-graph"]) == [f"{path}:7"]

    def test_all_but_ignored_rules(self, tmp_path: Path) -> None:
        assert _places(_write(tmp_path, "train.py"), ignore=["MD101"]) == []

    def test_an_unknown_rule_is_named_with_near_ones(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownRule, match=r"'MD1O1'.*\n.*MD101 \(loss-kept-with-graph\)"):
            memdoctor.scan([tmp_path], select=["MD1O1"])

    def test_less_sure_findings_are_counted(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "evaluate.py", BY_NAME_ONLY)
        assert len(memdoctor.scan([path]).findings) == 1
        report = memdoctor.scan([path], min_confidence=Confidence.HIGH)
        assert (report.findings, report.hidden) == ((), 1)


class TestManyFiles:
    def test_several_processes_say_what_one_says(self, tmp_path: Path) -> None:
        """In a process of its own, because those of a pool are forked, and a test run with torch has threads."""
        for number in range(120):
            _write(tmp_path, f"{number}.py", LEAK if number % 10 else "import torch\nprint 'x'\n")
        program = (
            "import sys, memdoctor\n"
            "one = memdoctor.scan(sys.argv[1:])\n"
            "assert (len(one.findings), len(one.skipped)) == (108, 12)\n"
            "assert memdoctor.scan(sys.argv[1:], processes=2) == one\n"
        )
        command = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_collector_is_left_as_it_was(self, tmp_path: Path) -> None:
        assert gc.isenabled()
        memdoctor.scan([_write(tmp_path, "train.py")])
        assert gc.isenabled()


class TestIgnoreComments:
    @pytest.mark.parametrize(
        ("comment", "expected"),
        [
            ("# memdoctor: ignore[MD101]", []),
            ("# memdoctor: ignore[md101] kept on purpose", []),
            ("# noqa  # memdoctor: ignore[MD101]", []),
            ("# memdoctor: ignore", []),
            ("# memdoctor: ignore[MD201, MD101]", ["MD001"]),
            ("# memdoctor: ignore[MD201]", ["MD101", "MD001"]),
            ("# memdoctor: ignore[MD1O1]", ["MD101", "MD001"]),
            ("# ignore[MD101]", ["MD101"]),
        ],
    )
    def test_a_comment_leaves_a_line_alone_or_is_reported(
        self, tmp_path: Path, comment: str, expected: list[str],
    ) -> None:
        path = _write(tmp_path, "train.py", LEAK.replace("total += loss", f"total += loss  {comment}"))
        assert _codes(path) == expected

    def test_a_finding_of_several_lines_may_have_it_on_any(self, tmp_path: Path) -> None:
        lines = "total += (  # why\n            loss  # memdoctor: ignore[MD101]\n        )"
        assert _codes(_write(tmp_path, "train.py", LEAK.replace("total += loss", lines))) == []

    @pytest.mark.parametrize("options", [{"select": ["MD201", "MD001"]}, {"ignore": ["MD101"]}])
    def test_a_rule_that_was_not_asked_says_nothing_about_its_comments(
        self, tmp_path: Path, options: dict[str, list[str]],
    ) -> None:
        comment = "import torch\nx = 1  # memdoctor: ignore[MD101]\n"
        assert _codes(_write(tmp_path, "train.py", comment), **options) == []

    def test_an_unused_comment_without_codes_does_not_hide_itself(self, tmp_path: Path) -> None:
        path = _write(tmp_path, "train.py", "import torch\nx = 1  # memdoctor: ignore\n")
        assert _codes(path) == ["MD001"]
