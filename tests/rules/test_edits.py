"""The edit that a rule advises repairs what it reports, and touches nothing else."""

from __future__ import annotations

import textwrap

import pytest

from memdoctor.foundation.findings import Applicability, Finding
from memdoctor.rules import Source, find_rule
from memdoctor.scanning.edits import edited_text

_TRAINING = "import torch\nfor x, y in loader:\n    loss = criterion(model(x), y)\n"
_STEP = f"{_TRAINING}    {{}}\n"
_LOADED = "import torch\n{}\nmodel.load_state_dict(c)\nfor x, y in loader:\n    criterion(model(x), y).backward()\n"
_FULL = "from torch.distributed.fsdp import FullStateDictConfig\nconfig = {}\n"


def _found(code: str, text: str) -> list[Finding]:
    return list(find_rule(code).check(Source("train.py", text)))


def _repaired(code: str, text: str) -> str:
    found = _found(code, text)
    assert found, "the example is not reported"
    return edited_text(text, [edit for finding in found if finding.advice for edit in finding.advice.edits])


@pytest.mark.parametrize(
    ("code", "frame", "before", "after"),
    [
        pytest.param(
            "MD202", _STEP, "loss.backward(retain_graph=True)", "loss.backward()", id="the only argument",
        ),
        pytest.param(
            "MD202", _STEP, "loss.backward(retain_graph=True, inputs=p)", "loss.backward(inputs=p)",
            id="the first of two",
        ),
        pytest.param(
            "MD202", _STEP, "loss.backward(g, retain_graph=True)", "loss.backward(g)", id="the last of two",
        ),
        pytest.param(
            "MD202", _STEP, "loss.backward(\n        g,  # why\n        retain_graph=True\n    )",
            "loss.backward(\n        g,  # why\n        \n    )", id="a comment between arguments stays",
        ),
        pytest.param(
            "MD205", "import torch\n{}\n", "opt.zero_grad(set_to_none=False)  # why", "opt.zero_grad()  # why",
            id="gradients are dropped",
        ),
        pytest.param(
            "MD205", "import torch\nfor p in model.parameters():\n    {}\n", "p.grad.data.zero_()", "p.grad = None",
            id="gradients are dropped by hand",
        ),
        pytest.param(
            "MD306", _FULL, "FullStateDictConfig(rank0_only=True)",
            "FullStateDictConfig(rank0_only=True, offload_to_cpu=True)", id="an option more",
        ),
        pytest.param(
            "MD306", _FULL, "FullStateDictConfig(offload_to_cpu=False)", "FullStateDictConfig(offload_to_cpu=True)",
            id="an option turned round",
        ),
        pytest.param(
            "MD307", _LOADED, "c = torch.load('a.pt', map_location=device)",
            "c = torch.load('a.pt', map_location=\"cpu\")", id="to the host by keyword",
        ),
        pytest.param(
            "MD307", _LOADED, "c = torch.load('a.pt', device)", "c = torch.load('a.pt', \"cpu\")",
            id="to the host by place",
        ),
        pytest.param(
            "MD102", _TRAINING.replace("model(x)", "(out := model(x))") + "    loss.backward()\n    {}\n",
            "kept.append(out)", "kept.append(out.detach().cpu())", id="outputs on the host without their graph",
        ),
    ],
)
def test_the_line_is_repaired(code: str, frame: str, before: str, after: str) -> None:
    text = frame.format(before)
    repaired = _repaired(code, text)
    assert repaired == frame.format(after)
    assert _found(code, repaired) == []


@pytest.mark.parametrize(
    ("code", "body"),
    [
        pytest.param("MD102", "model.eval()\nreturn [model(x) for x in loader]", id="outputs of an evaluation"),
        pytest.param("MD201", "model.eval()\nfor x in loader:\n    print(model(x).mean().item())", id="an evaluation"),
    ],
)
def test_a_function_that_only_evaluates_is_decorated(code: str, body: str) -> None:
    text = f"import torch\n\n\ndef evaluate(model, loader):\n{textwrap.indent(body, '    ')}\n"
    repaired = _repaired(code, text)
    assert repaired == text.replace("def evaluate", "@torch.no_grad()\ndef evaluate")
    assert _found("MD102", repaired) == _found("MD201", repaired) == []


def test_volatile_makes_room_for_the_decorator() -> None:
    text = (
        "import torch\nfrom torch.autograd import Variable\n\n\ndef predict(model, x, h):\n"
        "    x = Variable(x, volatile=True)\n    h.volatile = True\n    return model(x, h).argmax(1)\n"
    )
    assert _repaired("MD206", text) == (
        "import torch\nfrom torch.autograd import Variable\n\n\n@torch.no_grad()\ndef predict(model, x, h):\n"
        "    x = Variable(x)\n    return model(x, h).argmax(1)\n"
    )


def test_a_sum_of_several_terms_is_left_to_a_person() -> None:
    """To detach the first of them only would leave the finding."""
    found = _found("MD101", f"total = 0\n{_TRAINING}    loss.backward()\n    total = total + loss + loss\n")
    assert [finding.advice.edits for finding in found if finding.advice] == [()]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        pytest.param("MD205", "import torch\nopt.zero_grad(set_to_none=False)\n", id="an optimizer skips None"),
        pytest.param("MD306", _FULL.format("FullStateDictConfig()"), id="the state is on the host"),
        pytest.param("MD202", f"{_TRAINING}    loss.backward(retain_graph=True)\n", id="a second backward would raise"),
    ],
)
def test_what_changes_the_program_is_not_safe(code: str, text: str) -> None:
    assert [finding.advice.applicability for finding in _found(code, text) if finding.advice] == [Applicability.UNSAFE]
