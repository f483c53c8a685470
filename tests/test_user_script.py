"""The argument of a script that sets the size is replaced where it stands, and added where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdoctor.foundation.errors import BadInput
from memdoctor.user_script import UserScript, script


@pytest.mark.parametrize(
    ("argument", "given", "becomes"),
    [
        pytest.param("--bs", "--epochs 3", "--epochs 3 --bs 64", id="an option that is not there"),
        pytest.param("--bs", "--bs 8 --epochs 3", "--bs 64 --epochs 3", id="an option and its value"),
        pytest.param("--bs", "--bs=8 --epochs 3", "--bs=64 --epochs 3", id="an option with an equals sign"),
        pytest.param("--bs", "--bs-eval 8", "--bs-eval 8 --bs 64", id="another option that begins alike"),
        pytest.param("-b", "-b 8 x", "-b 64 x", id="a short option"),
        pytest.param("data.bs", "model=gpt", "model=gpt data.bs=64", id="Hydra, not there"),
        pytest.param("data.bs", "data.bs=8 model=gpt", "data.bs=64 model=gpt", id="Hydra"),
        pytest.param("data.bs", "+data.bs=8", "+data.bs=64", id="Hydra, added to the configuration"),
        pytest.param("+data.bs", "", "+data.bs=64", id="Hydra, to be added"),
        pytest.param("data.bs", "--note data.bs", "--note data.bs data.bs=64", id="a value that reads like the name"),
        pytest.param("--bs", "--bs 8 --bs 9", "--bs 64 --bs 64", id="twice"),
    ],
)
def test_arguments_for_a_size(argument: str, given: str, becomes: str) -> None:
    assert UserScript("train.py", argument, tuple(given.split())).arguments_for(64) == becomes.split()


def test_a_trailing_equals_sign_is_dropped(tmp_path: Path) -> None:
    """Hydra's users type it."""
    path = tmp_path / "train.py"
    path.write_text("", encoding="utf-8")
    assert script(str(path), "data.bs=").argument == "data.bs"


@pytest.mark.parametrize(
    ("path", "argument", "says"),
    [
        pytest.param("missing.py", "--bs", "missing.py cannot be read", id="no file"),
        pytest.param(__file__, "--", "'--' is no argument", id="no argument"),
    ],
)
def test_what_cannot_be_started_is_refused(path: str, argument: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        script(path, argument)
