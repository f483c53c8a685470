"""What a kept graph costs: a backward frees its activations, unless it retains the graph."""

from __future__ import annotations

import pytest

from memdoctor.foundation.findings import Severity
from memdoctor.rules import Source, loss_kept_with_graph, output_kept_with_graph

_RETAINED, _PLAIN = "loss.backward(retain_graph=True)", "loss.backward()"
_LOOP = """
import torch
def train(model, criterion, loader):
    kept = []
    for x, y in loader:
        out = model(x)
        loss = criterion(out, y)
        BACKWARDS
        kept.append(KEPT)
"""
_METHODS = """
import torch
class Trainer:
    def step(self, x, y):
        loss = self.criterion(self.model(x), y)
        BACKWARDS
        return loss

    def train(self, loader):
        total = 0
        for x, y in loader:
            total += self.step(x, y)
"""


def _with(program: str, backwards: str, kept: str = "loss") -> Source:
    return Source("train.py", program.replace("BACKWARDS", backwards).replace("KEPT", kept))


@pytest.mark.parametrize("program", [_LOOP, _METHODS], ids=["in the loop", "in a method"])
@pytest.mark.parametrize(
    ("backwards", "severity"),
    [
        (_PLAIN, Severity.WARNING),
        (_RETAINED, Severity.ERROR),
        ("loss.backward(create_graph=True)", Severity.ERROR),
        (f"{_RETAINED}; {_PLAIN}", Severity.WARNING),
        (f"{_RETAINED}; (loss * 2).backward()", Severity.WARNING),
    ],
)
def test_of_a_loss(program: str, backwards: str, severity: Severity) -> None:
    (finding,) = loss_kept_with_graph.RULE.check(_with(program, backwards))
    assert finding.severity is severity
    assert ("no backward() frees it" in finding.message) is (severity is Severity.ERROR)


def test_of_a_loss_that_the_caller_frees() -> None:
    program = _METHODS.replace("total += self.step(x, y)", "loss = self.step(x, y); loss.backward(); total += loss")
    (finding,) = loss_kept_with_graph.RULE.check(_with(program, _RETAINED))
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(("backward", "cost"), [(_PLAIN, "the outputs of"), (_RETAINED, "the activations of")])
def test_of_an_output(backward: str, cost: str) -> None:
    (finding,) = output_kept_with_graph.RULE.check(_with(_LOOP, backward, "out"))
    assert f"{cost} every iteration stay" in finding.message
    assert finding.advice is not None and "no_grad" not in finding.advice.text
