"""`memdoctor report`: any recorded run, on any machine, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from memdoctor.cli import cli
from memdoctor.cli.report import command
from memdoctor.foundation.errors import UnreadableRun
from memdoctor.foundation.recording import Recording
from memdoctor.foundation.runs import OUT_OF_MEMORY, RunEnd, RunReport, Verdict
from tests.golden.crashes import CRASH, NO_GROWTH
from tests.golden.records import CLEAN, LEAK


def record(path: Path, report: RunReport) -> Path:
    """A recording that holds what the report shows."""
    with Recording(path) as recording:
        recording.begin(report.header)
        for reading in report.timeline.readings:
            recording.add(reading)
        for skipped in report.skipped:
            recording.add(skipped)
        recording.add(report.end)
        recording.add(Verdict(report.growth, report.findings))
    return path


@pytest.mark.parametrize(("report", "code"), [pytest.param(LEAK, 1, id="leak"), pytest.param(CLEAN, 0, id="clean")])
def test_a_leak_is_exit_code_1(tmp_path: Path, report: RunReport, code: int) -> None:
    done = CliRunner().invoke(command, [str(record(tmp_path / "run.mdoc", report))])
    assert done.exit_code == code and done.stdout.startswith("memdoctor: ")


def test_json_is_one_object(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(record(tmp_path / "run.mdoc", LEAK)), "--format", "json"])
    assert json.loads(done.stdout)["growth"]["verdict"] == "leak"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        pytest.param("github", "::error file=model.py,line=41,endLine=41,title=MD403 out-of-memory::Out of memory, ",
                     id="an annotation"),
        pytest.param("junit", '<testcase name="MD403 out-of-memory" classname="model.py" file="model.py" line="41">',
                     id="a test that failed"),
        pytest.param("sarif", '"ruleId": "MD403"', id="a result"),
    ],
)
def test_the_forms_of_pipelines_begin_with_the_crash(tmp_path: Path, form: str, says: str) -> None:
    path = tmp_path / "run.mdoc"
    with Recording(path) as recording:
        recording.begin(CLEAN.header)
        for record in (CLEAN.timeline.readings[0], CRASH, RunEnd(OUT_OF_MEMORY), NO_GROWTH):
            recording.add(record)
    done = CliRunner().invoke(command, [str(path), "--format", form])
    assert done.exit_code == 1 and says in done.stdout


def test_a_clean_run_annotates_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(record(tmp_path / "run.mdoc", CLEAN)), "--format", "github"])
    assert (done.exit_code, done.stdout) == (0, "")


def test_every_result_of_a_run_has_its_rule_in_sarif(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(record(tmp_path / "run.mdoc", LEAK)), "--format", "sarif"])
    run = json.loads(done.stdout)["runs"][0]
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "MD101"


def test_torch_is_not_needed(tmp_path: Path) -> None:
    path = record(tmp_path / "run.mdoc", LEAK)
    program = "import sys; sys.modules['torch'] = None\nfrom memdoctor.cli import main\nmain()"
    words = [sys.executable, "-c", program, "report", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Trainer.history" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("content", [pytest.param(b"{}", id="broken"), pytest.param(b'{"version": 9}', id="newer")])
def test_what_cannot_be_read_is_exit_code_2_and_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.mdoc"
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "memdoctor", "report", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("memdoctor: ") and "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_failure(tmp_path: Path) -> None:
    path = record(tmp_path / "run.mdoc", LEAK)
    pipeline = f"{sys.executable} -m memdoctor report --format json {path} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[0] == "{" and done.stderr == ""


def test_an_unknown_command_is_named() -> None:
    done = CliRunner().invoke(cli, ["diagnose"])
    assert done.exit_code == 2 and "diagnose" in done.output


def test_a_dash_reads_standard_input(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["-"], input=record(tmp_path / "run.mdoc", LEAK).read_bytes())
    assert done.exit_code == 1 and "Trainer.history" in done.stdout


def test_standard_input_that_is_no_recording_is_named() -> None:
    done = CliRunner().invoke(command, ["-"], input=b"")
    assert isinstance(done.exception, UnreadableRun) and str(done.exception).startswith("standard input is empty")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("redirection", ["> /dev/full", "> /dev/full 2>&1"])
def test_a_full_disk_behind_standard_output_is_a_sentence_and_exit_code_3(tmp_path: Path, redirection: str) -> None:
    words = f"{sys.executable} -m memdoctor report {record(tmp_path / 'run.mdoc', LEAK)} {redirection}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    told = "memdoctor: standard output could not be written: No space left on device.\n"
    assert done.stderr == ("" if "2>" in redirection else told)


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-"])
def test_output_that_nobody_wants_changes_no_exit_code(tmp_path: Path, redirection: str) -> None:
    words = f"{sys.executable} -m memdoctor report {record(tmp_path / 'run.mdoc', LEAK)} {redirection}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
