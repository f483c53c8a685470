"""What one trial answers, asked in this process to save the start of another; `test_batch_size.py` starts them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memdoctor import trial_process

Answer = Callable[..., dict[str, Any]]

HOLDS_2_MIB_A_SAMPLE = """
import torch
calls = []
def make_step(batch_size):
    def step():
        calls.append(batch_size)
        torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
    return step
"""


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Runs the process's `main` on a file of that text, and reads what it wrote."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())

    def ask(text: str, batch_size: int = 1, card: str | None = "64MiB") -> dict[str, Any]:
        path = tmp_path / "train.py"
        path.write_text(text, encoding="utf-8")
        function = {"source": str(path), "name": "make_step", "is_module": False}
        request = json.dumps({"function": function, "batch_size": batch_size, "card": card})
        monkeypatch.setattr(sys, "argv", ["trial_process", request, str(tmp_path / "outcome.json")])
        trial_process.main()
        outcome: dict[str, Any] = json.loads((tmp_path / "outcome.json").read_text(encoding="utf-8"))
        return outcome

    return ask


def test_a_size_that_fits_is_answered_with_its_peak(answer: Answer) -> None:
    """Ten samples of 2 MiB on a card of a size, all of it usable."""
    outcome = answer(HOLDS_2_MIB_A_SAMPLE, batch_size=10)
    assert (outcome["fits"], outcome["peak_bytes"], outcome["refusal"]) == (True, 20 * 2**20, None)
    assert (outcome["card"], outcome["room_bytes"]) == ("64MiB", 64 * 2**20)
    assert [skipped["what"] for skipped in outcome["skipped"]] == ["values of tensors on the virtual card"]


def test_two_steps_are_run(answer: Answer) -> None:
    """The optimizer's state appears at the end of the first; only the second shows the peak that stays."""
    answer(HOLDS_2_MIB_A_SAMPLE, batch_size=3)
    assert sys.modules["train"].calls == [3, 3]


def test_a_size_that_does_not_fit_has_no_peak(answer: Answer) -> None:
    outcome = answer(HOLDS_2_MIB_A_SAMPLE, batch_size=33)
    assert (outcome["fits"], outcome["peak_bytes"], outcome["refusal"]) == (False, None, None)


def test_a_full_card_while_building_does_not_fit_either(answer: Answer) -> None:
    outcome = answer("import torch\ndef make_step(n): torch.empty(65 * 2**20, dtype=torch.uint8, device='cuda')")
    assert (outcome["fits"], outcome["refusal"]) == (False, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            "def make_step(model, optimizer): ...",
            "train.py:make_step takes 2 arguments (model, optimizer); batch-size calls it with one, the batch size.",
            id="two arguments",
        ),
        pytest.param("def make_step(): ...", "train.py:make_step takes no argument; batch-size", id="no argument"),
        pytest.param(
            "def make_step(n): return None",
            "train.py:make_step returned None, not a function that runs a step.",
            id="returns nothing",
        ),
        pytest.param(
            "def make_step(n): return lambda batch: 0",
            "train.py:make_step returned takes 1 argument (batch); batch-size calls it with none.",
            id="a step that needs a batch",
        ),
    ],
)
def test_the_wrong_form_is_refused_with_the_right_one(
    text: str, says: str, answer: Answer, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = answer(text)
    assert says in outcome["refusal"]
    assert outcome["next_step"].startswith("Write `def make_step(batch_size): ... return step`")
    assert capfd.readouterr() == ("", ""), "misuse has no traceback"


def test_an_error_of_the_program_is_its_own_traceback_and_a_sentence(
    answer: Answer, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = answer("def make_step(n):\n    raise ValueError('labels start at 1')", batch_size=2)
    assert outcome["refusal"].endswith(
        "train.py:make_step failed at batch size 2, not for memory: ValueError: labels start at 1."
    )
    shown = capfd.readouterr().err
    assert shown.startswith("Traceback (most recent call last):\n")
    assert "trial_process.py" not in shown, "the traceback begins in the user's code"
    assert shown.endswith("ValueError: labels start at 1\n")


def test_an_error_at_size_1_may_be_about_a_single_sample(answer: Answer) -> None:
    """Batch norm refuses one value per channel."""
    outcome = answer("def make_step(n):\n    raise ValueError('Expected more than 1 value per channel')")
    assert "--multiple-of 2" in outcome["next_step"]


def test_a_step_that_leaves_python_is_an_error_of_the_program(answer: Answer) -> None:
    outcome = answer("import sys\ndef make_step(n): return lambda: sys.exit(3)")
    assert outcome["refusal"].endswith("not for memory: SystemExit: 3.")


def test_without_any_card_the_next_step_is_to_name_one(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = answer(HOLDS_2_MIB_A_SAMPLE, card=None)
    assert outcome["refusal"] == "there is no GPU here to try batch sizes on."
    assert outcome["next_step"].endswith("train.py:make_step --card 24GiB")
