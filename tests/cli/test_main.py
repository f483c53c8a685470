"""How any command ends: a sentence and an exit code, whatever went wrong."""

from __future__ import annotations

import sys

import click
import pytest

import memdoctor.cli
from memdoctor.foundation.errors import BadInput, MemdoctorError


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        pytest.param(BadInput("train.py is missing.", "Name a file."), 2, "memdoctor: train.py is", id="misuse"),
        pytest.param(MemdoctorError("The disk is on fire."), 3, "memdoctor: The disk is on fire.", id="own failure"),
        pytest.param(ZeroDivisionError("ours"), 3, "memdoctor: this is a defect", id="a defect"),
        pytest.param(click.UsageError("no such option"), 2, "no such option", id="usage"),
        pytest.param(click.Abort(), 130, "memdoctor: interrupted.", id="Ctrl-C"),
    ],
)
def test_an_error_is_a_sentence_and_its_exit_code(
    error: Exception, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**options: object) -> None:
        raise error

    monkeypatch.setattr(memdoctor.cli, "cli", fail)
    with pytest.raises(SystemExit) as ended:
        memdoctor.cli.main()
    assert ended.value.code == code
    assert says in capsys.readouterr().err


def test_only_a_defect_shows_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memdoctor", "report", "/no/such/run.mdoc"])
    with pytest.raises(SystemExit):
        memdoctor.cli.main()
    assert "Traceback" not in capsys.readouterr().err
