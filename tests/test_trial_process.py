"""What one trial answers, asked in this process to save the start of another; `test_batch_size.py` starts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch._dynamo  # noqa: F401  # as the process of the trials does: it cannot be imported twice

from memdoctor import trial_process, user_function, user_script
from memdoctor.batch_trial import Outcome, Request

Answer = Callable[..., Outcome]

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
    """What a trial of a file of that text finds out; options are those of the request."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", sys.argv[:])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    monkeypatch.chdir(tmp_path)

    def ask(text: str, batch_size: int = 1, card: str | None = "64MiB", script: tuple[str, ...] = (), **options: object
            ) -> Outcome:
        (tmp_path / "train.py").write_text(text, encoding="utf-8")
        if script:
            program = {"script": user_script.script("train.py", script[0], script[1:])}
        else:
            program = {"function": user_function.UserFunction("train.py", "make_step")}
        return trial_process.answer(Request(batch_size, card, **program, **options))

    return ask


def test_a_size_that_fits_is_answered_with_its_peak(answer: Answer) -> None:
    """Ten samples of 2 MiB on a card of a size, all of it usable."""
    outcome = answer(HOLDS_2_MIB_A_SAMPLE, batch_size=10)
    assert (outcome.fits, outcome.peak_bytes, outcome.refusal) == (True, 20 * 2**20, None)
    assert (outcome.card, outcome.room_bytes) == ("64MiB", 64 * 2**20)
    assert [skipped.what for skipped in outcome.skipped] == ["values of tensors on the virtual card"]


def test_three_steps_are_run(answer: Answer) -> None:
    """The optimizer's state appears at the end of the first, the cache settles in the second."""
    answer(HOLDS_2_MIB_A_SAMPLE, batch_size=3)
    assert sys.modules["train"].calls == [3, 3, 3]


def test_a_size_that_does_not_fit_has_no_peak(answer: Answer) -> None:
    outcome = answer(HOLDS_2_MIB_A_SAMPLE, batch_size=33)
    assert (outcome.fits, outcome.peak_bytes, outcome.refusal) == (False, None, None)


def test_a_full_card_while_building_does_not_fit_either(answer: Answer) -> None:
    outcome = answer("import torch\ndef make_step(n): torch.empty(65 * 2**20, dtype=torch.uint8, device='cuda')")
    assert (outcome.fits, outcome.refusal) == (False, None)


def test_the_margin_stays_free(answer: Answer) -> None:
    """A quarter of 64 MiB: 24 samples of 2 MiB fit into the rest, 25 do not."""
    fitting = answer(HOLDS_2_MIB_A_SAMPLE, batch_size=24, margin=0.25)
    assert (fitting.fits, fitting.room_bytes) == (True, 48 * 2**20)
    assert not answer(HOLDS_2_MIB_A_SAMPLE, batch_size=25, margin=0.25).fits


def test_an_endless_card_records_what_fits_on_none(answer: Answer) -> None:
    outcome = answer(HOLDS_2_MIB_A_SAMPLE, batch_size=10**9, is_endless=True)
    assert outcome.requests == (10**9 * 2**21, -1, 10**9 * 2**21, -2, 10**9 * 2**21, -3)
    assert outcome.warm_up_requests == 4, "the last step is like all that follow"


STATE_AFTER_THE_FIRST_STEP = """
import torch
def make_step(batch_size):
    kept = []
    def step():
        torch.empty((8 if not kept else 2) * 2**20, dtype=torch.uint8, device="cuda")
        kept.append(torch.empty(2**20, dtype=torch.uint8, device="cuda") if not kept else None)
    return step
"""


def test_the_first_step_has_a_peak_of_its_own(answer: Answer) -> None:
    """8 MiB at once in the first; 1 MiB that stays and 2 MiB in the others."""
    outcome = answer(STATE_AFTER_THE_FIRST_STEP)
    assert (outcome.first_peak_bytes, outcome.peak_bytes) == (8 * 2**20, 8 * 2**20)


EMPTIES_ITS_CACHE_FROM_STEP = """
import torch
def make_step(first):
    steps = []
    def step():
        steps.append(1)
        if len(steps) >= first:
            for size in (40, 48):
                torch.empty(size * 2**20, dtype=torch.uint8, device="cuda")
        else:
            torch.empty(2**20, dtype=torch.uint8, device="cuda")
    return step
"""


def test_a_cache_that_is_emptied_in_the_last_step_does_not_fit(answer: Answer) -> None:
    """40 MiB are cached when 48 of 64 are asked for: PyTorch frees and asks again, with the GPU standing still."""
    outcome = answer(EMPTIES_ITS_CACHE_FROM_STEP, batch_size=3)
    assert (outcome.fits, outcome.alloc_retries) == (False, 1)


def test_a_cache_that_is_emptied_while_it_settles_fits(answer: Answer) -> None:
    """From the second step on there is nothing to free: 48 MiB are cached, and 40 are cut from them."""
    once = EMPTIES_ITS_CACHE_FROM_STEP.replace("len(steps) >= first", "len(steps) == first")
    assert answer(once, batch_size=1).fits


CATCHES_ITS_OWN = """
import torch
def make_step(batch_size):
    def step():
        try:
            torch.empty(batch_size, 2**21, dtype=torch.uint8, device="cuda")
        except torch.OutOfMemoryError:
            pass
    return step
"""


def test_a_full_card_that_the_program_passes_over_does_not_fit(answer: Answer) -> None:
    """It skips the batch and goes on, with nothing trained."""
    assert not answer(CATCHES_ITS_OWN, batch_size=33).fits
    assert answer(CATCHES_ITS_OWN, batch_size=32).fits


DISGUISES = [
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator.cpp":830, please report a bug',
    "NCCL WARN Cuda failure 'out of memory'",
    "CUFFT_ALLOC_FAILED",
    "CUDA error: out of memory",
]


@pytest.mark.parametrize("text", DISGUISES)
def test_a_full_card_in_disguise_does_not_fit(text: str, answer: Answer) -> None:
    outcome = answer(f"def make_step(n): raise RuntimeError({text!r})")
    assert (outcome.fits, outcome.refusal) == (False, None)


@pytest.mark.parametrize(
    "text", ["CUDA error: device-side assert triggered", "CUDA out of memory. Tried to allocate more than 1EB memory."]
)
def test_what_only_looks_like_a_full_card_ends_the_search(text: str, answer: Answer) -> None:
    assert "not for memory" in (answer(f"def make_step(n): raise RuntimeError({text!r})").refusal or "")


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
    assert says in (outcome.refusal or "")
    assert outcome.next_step.startswith("Write `def make_step(batch_size): ... return step`")
    assert capfd.readouterr() == ("", ""), "misuse has no traceback"


def test_what_is_neither_function_nor_trainer_is_refused(answer: Answer) -> None:
    outcome = answer("make_step = 3")
    assert outcome.refusal == "train.py:make_step is no function, but int."
    assert outcome.next_step == "Name a function of that file."


def test_another_axis_is_given_by_name(answer: Answer) -> None:
    text = "seen = []\ndef make_step(batch_size, seq_len): seen.append((batch_size, seq_len)); return lambda: None"
    answer(text, batch_size=512, axis="seq_len", at={"batch_size": 8})
    assert sys.modules["train"].seen == [(8, 512)]


@pytest.mark.parametrize(
    ("axis", "at", "says", "next_step"),
    [
        pytest.param("length", {"n": 8}, "has no argument length.", "It is make_step(n, seq_len=128).", id="no axis"),
        pytest.param("", {"nope": 3}, "has no argument nope.", "It is make_step(n, seq_len=128).", id="none to set"),
        pytest.param("seq_len", {}, "also needs n.", "Give what stays fixed besides: --at n=8", id="the batch besides"),
        pytest.param("", {"n": 8}, "with the batch size as n, which --at sets too.", "Leave --at n=8 out", id="twice"),
    ],
)
def test_options_that_do_not_fit_the_function_are_told_what_would(
    axis: str, at: dict[str, int], says: str, next_step: str, answer: Answer
) -> None:
    outcome = answer("def make_step(n, seq_len=128): return lambda: None", axis=axis, at=at)
    assert (outcome.refusal or "").endswith(says)
    assert outcome.next_step.startswith(next_step)


def test_an_error_of_the_program_is_its_own_traceback_and_a_sentence(
    answer: Answer, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = answer("def make_step(n):\n    raise ValueError('labels start at 1')", batch_size=2)
    assert (outcome.refusal or "").endswith(
        "train.py:make_step failed at batch size 2, not for memory: ValueError: labels start at 1."
    )
    shown = capfd.readouterr().err
    assert shown.startswith("Traceback (most recent call last):\n")
    assert "trial_steps.py" not in shown, "the traceback begins in the user's code"
    assert shown.endswith("ValueError: labels start at 1\n")


def test_an_error_at_size_1_may_be_about_a_single_sample(answer: Answer) -> None:
    """Batch norm refuses one value per channel."""
    outcome = answer("def make_step(n):\n    raise ValueError('Expected more than 1 value per channel')")
    assert "--multiple-of 2" in outcome.next_step


def test_a_step_that_leaves_python_is_an_error_of_the_program(answer: Answer) -> None:
    outcome = answer("import sys\ndef make_step(n): return lambda: sys.exit(3)")
    assert (outcome.refusal or "").endswith("not for memory: SystemExit: 3.")


def test_without_any_card_the_next_step_is_to_name_one(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    outcome = answer(HOLDS_2_MIB_A_SAMPLE, card=None)
    assert outcome.refusal == "there is no GPU here to try batch sizes on."
    assert outcome.next_step.endswith("train.py:make_step --card 24GiB")


SCRIPT = """
import sys, torch
size = int(sys.argv[sys.argv.index("--bs") + 1])
model = torch.nn.Linear(64, 64).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(100):
    optimizer.zero_grad()
    model(torch.ones(min(size, 48), 64, device="cuda")).sum().backward()
    optimizer.step()
    print("step", step)
open("finished", "w").close()
"""


class TestOfAScript:
    def test_it_ends_after_three_steps_of_its_optimizer(
        self, answer: Answer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outcome = answer(SCRIPT, batch_size=16, script=("--bs",))
        assert (outcome.fits, outcome.steps, outcome.refusal) == (True, 3, None)
        assert capsys.readouterr().out.split() == ["step", "0", "step", "1"]
        assert not (tmp_path / "finished").exists()

    def test_its_real_batch_is_seen(self, answer: Answer) -> None:
        """The data end at 48, whatever is asked for."""
        assert answer(SCRIPT, batch_size=16, script=("--bs",)).shapes == (((16, 64),), ((16, 64),))
        assert answer(SCRIPT, batch_size=64, script=("--bs",)).shapes == (((48, 64),), ((48, 64),))

    def test_what_fills_the_card_comes_with_advice(self, answer: Answer) -> None:
        filling = SCRIPT.replace("min(size, 48), 64, device", "size, 64, device").replace("64", "2048")
        outcome = answer(filling, batch_size=2000, script=("--bs",))
        assert (outcome.fits, outcome.refusal) == (False, None)
        assert outcome.advice

    def test_without_an_optimizer_it_is_refused(self, answer: Answer) -> None:
        outcome = answer("import sys", script=("--bs",))
        assert outcome.refusal == "train.py ended at batch size 1 without a step of an optimizer of torch.optim."

    def test_an_argument_that_it_does_not_know_is_its_own_message(self, answer: Answer) -> None:
        outcome = answer("import argparse\nargparse.ArgumentParser().parse_args()", batch_size=4, script=("--bs",))
        assert outcome.refusal == "train.py failed at batch size 4, not for memory: SystemExit: 2."
        assert outcome.next_step == "What it said is above."

    def test_a_bare_except_does_not_hold_it_up(self, answer: Answer) -> None:
        stubborn = SCRIPT.replace("    optimizer.step()", "    try: optimizer.step()\n    except: pass")
        assert answer(stubborn, batch_size=16, script=("--bs",)).fits


def test_standard_output_of_a_trial_is_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    kept = [os.dup(descriptor) for descriptor in (0, 1, 2)]
    try:
        trial_process._redirect(is_quiet=False)
        os.write(1, b"the program speaks")
    finally:
        for descriptor, copy in enumerate(kept):
            os.dup2(copy, descriptor)
            os.close(copy)
    assert capfd.readouterr() == ("", "the program speaks")
