"""The commands scan and explain as a user types them: output, exit code, and no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memdoctor.rules import ALL_RULES

LEAK = """import torch
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    history.append(loss)
"""


def _memdoctor(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memdoctor", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


@pytest.fixture
def leak(tmp_path: Path) -> str:
    path = tmp_path / "train.py"
    path.write_text(LEAK, encoding="utf-8")
    return str(path)


def test_findings_and_exit_code_1(leak: str) -> None:
    done = _memdoctor("scan", leak)
    assert done.returncode == 1
    first, second, *_ = done.stdout.split("\n")
    assert first == f"{leak}:5:5: MD101 loss-kept-with-graph (warning, high confidence)"
    assert second.startswith("    `history` keeps the graph of `loss`")
    assert "\n    5 |     history.append(loss)\n      |     ^^^^^^^^^^^^^^^^^^^^\n" in done.stdout
    assert re.search(r"\n1 finding \(1 warning\)[^\n]*\.\n$", done.stdout)
    assert done.stderr == ""


def test_clean_is_exit_code_0(tmp_path: Path) -> None:
    (tmp_path / "clean.py").write_text("import torch\n", encoding="utf-8")
    done = _memdoctor("scan", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "No findings.\n")


def test_json_has_the_documented_form(leak: str) -> None:
    done = _memdoctor("scan", "--format", "json", leak, "/dev/zero")
    data = json.loads(done.stdout)
    assert list(data) == ["version", "findings", "hidden", "known", "skipped"]
    assert data["skipped"] == [{"what": "/dev/zero", "why": "not a regular file"}]
    (finding,) = data["findings"]
    assert list(finding) == [
        "code", "name", "severity", "confidence", "message", "location", "excerpt", "variable", "advice",
    ]
    assert finding["location"] == {
        "path": leak, "line": 5, "column": 5, "end_line": 5, "end_column": 25, "cell": None,
    }
    assert finding["excerpt"] == "    history.append(loss)"
    assert (finding["code"], finding["severity"], finding["variable"]) == ("MD101", "warning", "history")
    assert finding["advice"]["applicability"] == "safe"


@pytest.mark.parametrize(
    ("form", "begin"),
    [
        ("sarif", '{\n "$schema": "https://'),
        ("github", "::warning file="),
        ("junit", "<?xml version="),
        ("statistics", "1  MD101  loss-kept-with-graph\n1 finding"),
    ],
)
def test_other_forms(leak: str, form: str, begin: str) -> None:
    done = _memdoctor("scan", "--format", form, leak)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(begin)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "junit"])
def test_a_file_that_was_named_and_cannot_be_read_is_exit_code_2(leak: str, tmp_path: Path, form: str) -> None:
    """Also beside others, whose findings stay; in a folder, where nobody named it, it is listed."""
    broken = tmp_path / "broken.py"
    broken.write_text("import torch\ndef (:\n")
    alone, both = (_memdoctor("scan", "--format", form, *paths) for paths in ([str(broken)], [leak, str(broken)]))
    assert alone.returncode == both.returncode == _memdoctor("scan", "--exit-zero", leak, str(broken)).returncode == 2
    assert "invalid syntax" in alone.stdout and "invalid syntax" in both.stdout and "MD101" in both.stdout
    in_folder = _memdoctor("scan", "--format", form, "--exit-zero", str(tmp_path))
    assert in_folder.returncode == 0 and "invalid syntax" in in_folder.stdout


def test_exit_zero_keeps_the_report(leak: str) -> None:
    done = _memdoctor("scan", "--exit-zero", leak)
    assert (done.returncode, done.stdout) == (0, _memdoctor("scan", leak).stdout)


def test_a_baseline_is_written_and_then_hides(leak: str, tmp_path: Path) -> None:
    baseline = str(tmp_path / "baseline.json")
    for arguments in (["--write-baseline"], []):
        done = _memdoctor("scan", leak, "--baseline", baseline, *arguments)
        assert (done.returncode, done.stdout) == (0, "No new findings, 1 known from the baseline.\n")


def test_fix_repairs_and_reports_the_rest(leak: str) -> None:
    path = Path(leak)
    path.write_text(LEAK + "model.eval()\nshow(model(x))\n", encoding="utf-8")
    done = _memdoctor("scan", "--fix", leak)
    assert path.read_text(encoding="utf-8").splitlines()[4] == "    history.append(loss.detach())"
    assert done.stderr == "memdoctor: 1 fixed in 1 file.\n"
    assert done.returncode == 1
    assert "MD201" in done.stdout and "MD101" not in done.stdout


@pytest.mark.parametrize("option", ["--fix", "--unsafe-fixes", "--diff"])
def test_standard_input_cannot_be_fixed(leak: str, option: str) -> None:
    done = _memdoctor("scan", option, leak, "-", stdin=LEAK)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Standard input cannot be repaired in place." in done.stderr
    assert Path(leak).read_text(encoding="utf-8") == LEAK


@pytest.mark.parametrize("choice", [["--select", ""], ["--select", "MD101,", "--ignore", "loss-kept-with-graph"]])
def test_a_choice_that_leaves_no_rule_is_refused(leak: str, choice: list[str]) -> None:
    done = _memdoctor("scan", leak, *choice)
    assert (done.returncode, done.stdout) == (2, "")
    assert "rule" in done.stderr and "Traceback" not in done.stderr


def test_nothing_to_fix_is_said(leak: str) -> None:
    done = _memdoctor("scan", "--fix", "--ignore", "MD101", leak)
    assert (done.returncode, done.stderr) == (0, "memdoctor: there is nothing to fix.\n")


def test_diff_shows_and_writes_nothing(leak: str) -> None:
    before = Path(leak).read_bytes()
    done = _memdoctor("scan", "--diff", leak)
    assert (done.returncode, done.stderr) == (1, "memdoctor: 1 would be fixed in 1 file.\n")
    assert done.stdout.endswith("-    history.append(loss)\n+    history.append(loss.detach())\n")
    assert Path(leak).read_bytes() == before


def test_rules_lists_each_on_a_line() -> None:
    done = _memdoctor("rules")
    assert done.returncode == 0
    codes = [line.split(" ", 1)[0] for line in done.stdout.splitlines()]
    assert codes == sorted(rule.code for rule in ALL_RULES)
    assert re.search("^MD301  warning  load-without-map-location  +A checkpoint is loaded", done.stdout, re.MULTILINE)


def test_standard_input() -> None:
    done = _memdoctor("scan", "-", stdin=LEAK)
    assert done.stdout.startswith("<stdin>:5:5: MD101")


def test_output_goes_to_a_file(leak: str, tmp_path: Path) -> None:
    done = _memdoctor("scan", leak, "--output", str(tmp_path / "report.txt"))
    assert (done.returncode, done.stdout) == (1, "")
    assert (tmp_path / "report.txt").read_text(encoding="utf-8").startswith(f"{leak}:5:5: MD101")


def test_codes_may_be_separated_by_commas(leak: str) -> None:
    assert _memdoctor("scan", leak, "--select", "MD201,MD301").returncode == 0
    assert _memdoctor("scan", leak, "--ignore", "MD201, MD101").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["scan"], "Missing argument 'PATH...'", id="no path"),
        pytest.param(["scan", "nowhere.py"], "nowhere.py: no such file or folder.", id="no such file"),
        pytest.param(["scan", ".", "--select", "MD1"], "No rule is called 'MD1'.", id="unknown code"),
        pytest.param(["scan", "/dev/zero", "--output", "/no/x"], "/no/x cannot be written", id="unwritable output"),
        pytest.param(["scan", "/dev/zero", "--baseline", "/no/x"], "/no/x cannot be read", id="no baseline"),
        pytest.param(["scan", "/dev/zero", "--write-baseline"], "--baseline FILE", id="no file for the baseline"),
        pytest.param(["scan", ".", "--format", "yaml"], "'yaml' is not one of", id="unknown format"),
        pytest.param(["explain", "MD1O1"], "Did you mean: MD101 (loss-kept-with-graph)", id="unknown rule"),
    ],
)
def test_misuse_is_a_sentence_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = _memdoctor(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error(leak: str) -> None:
    command = f"{sys.executable} -m memdoctor scan {leak} | head -0"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_explain_prints_the_documentation_of_the_rule() -> None:
    done = _memdoctor("explain", "loss-kept-with-graph")
    assert done.returncode == 0
    assert done.stdout.startswith("MD101 loss-kept-with-graph (error)\n\nA loss is summed or collected")
    assert "\nBad::\n" in done.stdout


def test_scan_and_explain_never_load_torch(leak: str) -> None:
    """Loading torch costs two seconds; rich and jinja2 cost tens of milliseconds."""
    program = (
        "import sys; from memdoctor.cli import cli\n"
        f"cli(['scan', {leak!r}], standalone_mode=False); cli(['explain', 'MD101'], standalone_mode=False)\n"
        "assert not {'torch', 'rich', 'jinja2', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
