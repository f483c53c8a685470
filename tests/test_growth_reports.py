"""Programs after real reports of memory that grows, and of memory that only seems to.

The report that each is after, and its class, stand in the test's id; the variable and its statement, or the word that
there is no leak, are what would have answered it.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from memdoctor.foundation.runs import RunReport
from memdoctor.reports.run_text import run_text
from memdoctor.run import run

pytestmark = pytest.mark.usefixtures("searches_need_not_wait")

MODEL = """\
import torch
from torch import nn

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).cuda()
optimizer = torch.optim.Adam(model.parameters())

def train_step(size=32):
    optimizer.zero_grad()
    loss = model(torch.randn(size, 64).cuda()).square().mean()
    loss.backward()
    optimizer.step()
    return loss
"""

STEP_OUTPUTS = """
class Loop:
    def __init__(self):
        self.epoch_outputs = []

    def run(self):
        model.eval()
        for _ in range(60):
            with torch.no_grad():
                output = {"loss": 0.0, "x": model(torch.randn(100, 64).cuda())}
            self.epoch_outputs.append(output)

train_step()
Loop().run()
"""

CARRIED_STATE = """
policy = nn.Linear(24, 24).cuda()

class Environment:
    def __init__(self):
        self.state = torch.zeros(16, 24).cuda()

    def step(self, action):
        self.state = 0.9 * self.state + action.tanh()
        return self.state

environment = Environment()
observation = environment.state
for _ in range(40):
    observation = environment.step(policy(observation))
"""

DOUBLE_BACKWARD = """
import warnings
warnings.simplefilter("ignore")

def closure(x):
    x = x.detach().requires_grad_(True)
    x.cosh().sum().backward(create_graph=True)
    return x.grad.detach()

x = torch.randn(2000).cuda()
for _ in range(20):
    train_step()
    x = x - 0.1 * closure(x)
"""

CAUGHT_ERRORS = """
errors = []

def attempt():
    features = model[:2](torch.randn(40, 64).cuda())
    raise RuntimeError(f"{len(features)} bad rows")

for _ in range(20):
    train_step()
    try:
        attempt()
    except RuntimeError as error:
        errors.append(error)
"""

RECORDING_HOOKS = """
class Attribution:
    def __init__(self, layer):
        self.layer = layer
        self.inputs = []

    def __enter__(self):
        self.handle = self.layer.register_forward_hook(self.record)
        return self

    def record(self, module, inputs, output):
        self.inputs.append(inputs[0])

    def __exit__(self, *error):
        pass

for _ in range(24):
    with Attribution(model[2]) as attribution:
        train_step()
"""

CLONED_LOSS = """
class Reporter:
    def __init__(self):
        self.observed = {}

    def report(self, name, value):
        self.observed.setdefault(name, []).append(value.clone())

reporter = Reporter()
for _ in range(20):
    reporter.report("loss", train_step())
"""

ATTACHED_REPLAY = """
from collections import deque
memory = deque()
for _ in range(20):
    train_step()
    state = torch.randn(8, 64).cuda()
    memory.append((state, model(state).max(dim=1).values, 1.0))
"""

LEAKS = [
    pytest.param(
        STEP_OUTPUTS, "Loop.epoch_outputs", "self.epoch_outputs.append(output)", id="output-accum (P075, P165)"
    ),
    pytest.param(
        CARRIED_STATE, "Environment.state", "self.state = 0.9 * self.state + action.tanh()", id="carried-state (P108)"
    ),
    pytest.param(DOUBLE_BACKWARD, "p.grad", "x.cosh().sum().backward(create_graph=True)", id="double-backward (P150)"),
    pytest.param(CAUGHT_ERRORS, "errors", "errors.append(error)", id="exception-notebook (P212)"),
    pytest.param(
        RECORDING_HOOKS, "Attribution.inputs", "self.inputs.append(inputs[0])", id="hook-activations (P102)"
    ),
    pytest.param(
        CLONED_LOSS, "Reporter.observed['loss']", "self.observed.setdefault(name, []).append(value.clone())",
        id="history-accum (P087)",
    ),
    pytest.param(
        ATTACHED_REPLAY, "memory", "memory.append((state, model(state).max(dim=1).values, 1.0))",
        id="device-buffer (P013)",
    ),
]

VARYING_SIZES = """
for step in range(40):
    train_step(size=32 + step * 37 % 200)
"""

PARTIAL_LOSSES = """
for _ in range(20):
    optimizer.zero_grad()
    loss = 0
    for _ in range(6):
        loss += model(torch.randn(32, 64).cuda()).square().mean()
    loss.backward()
    optimizer.step()
"""

FOLDS = """
for fold in range(5):
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(8):
        train_step()
"""

AVERAGE = """
import copy
model = nn.Sequential(nn.Linear(64, 2000), nn.Linear(2000, 2000, bias=False)).cuda()
optimizer = torch.optim.SGD(model.parameters())
for step in range(30):
    train_step()
    if step == 4:
        average = copy.deepcopy(model)
"""

NO_LEAKS = [
    pytest.param(VARYING_SIZES, id="variable-batch (P176)"),
    pytest.param(PARTIAL_LOSSES, id="several graphs until one backward (P198)"),
    pytest.param(FOLDS, id="refcycle: the next fold's model is made before the old one goes (P037)"),
    pytest.param(AVERAGE, id="model-copy (P171)"),
]


def report_of(folder: Path, program: str) -> RunReport:
    script = folder / f"{folder.name}.py"  # a name of its own: Python remembers the text of a file by its name
    script.write_text(MODEL + textwrap.dedent(program))
    outcome = run(str(script), [], module=False, card="a100-40gb", output=None)
    assert outcome.error is None
    return outcome.report


@pytest.mark.parametrize(("program", "name", "statement"), LEAKS)
def test_the_first_line_names_the_variable_and_its_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, name: str, statement: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = run_text(report_of(tmp_path, program))
    line = 1 + [each.strip() for each in (MODEL + program).splitlines()].index(statement)
    assert text.startswith(f"memdoctor: leak: {name} at {tmp_path.name}.py:{line}.")


@pytest.mark.parametrize("program", NO_LEAKS)
def test_what_only_looks_like_a_leak_is_left_alone(tmp_path: Path, program: str) -> None:
    report = report_of(tmp_path, program)
    assert report.findings == ()
    assert report.growth.verdict in ("none", "plateau", "worst-batch")


def test_a_second_model_on_the_card_is_named_as_the_copy_it_is(tmp_path: Path) -> None:
    """64 x 2,000 + 2,000 + 2,000 x 2,000 parameters: 512,000 + 8,192 + 16,000,000 bytes in blocks."""
    (rise,) = [rise for rise in report_of(tmp_path, AVERAGE).growth.expected if "copy" in rise.cause]
    assert (rise.cause, rise.gained_bytes) == ("a copy of Sequential", 16_520_192)
