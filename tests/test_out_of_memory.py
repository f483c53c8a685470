"""Programs after real reports of "CUDA out of memory", each on a virtual card that is too small for it.

The report that each is after, and its class, stand in the test's id; the verdict, the line and the first advice are
what would have answered it.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from memdoctor.foundation.locations import Location
from memdoctor.foundation.runs import CUT_OFF, OUT_OF_MEMORY, RunReport
from memdoctor.report import read_run
from memdoctor.reports.run_text import run_text
from memdoctor.run import run

NETWORK = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))

class Net(nn.Module):
    def __init__(self, width=256, depth=6, classes=10):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.head = nn.Linear(width, classes)
    def forward(self, x):
        return self.head(self.blocks(x))

def train(model, sizes, optimizer=torch.optim.SGD):
    optimizer = optimizer(model.parameters(), lr=1e-3)
    for size in sizes:
        x, y = torch.randn(size, 256).cuda(), torch.randint(10, (size,)).cuda()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""

EVAL_GRAD = """
model = Net().cuda()
train(model, [1000] * 3)
model.eval()
scores = model(torch.randn(60_000, 256).cuda())
"""

CAPACITY = """
model = Net(width=2048, depth=3).cuda()
optimizer = torch.optim.AdamW(model.parameters())
model(torch.randn(8, 2048).cuda()).sum().backward()
optimizer.step()
"""

DEVICE_BUFFER = """
data = [torch.randn(256, 256, 64) for _ in range(1)] * 200
on_card = [d.to("cuda") for d in data]
train(Net().cuda(), [1000])
"""

HISTORY = """
model = Net().cuda()
history = []
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for step in range(400):
    loss = model(torch.randn(2000, 256).cuda()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.append(model(torch.randn(2000, 256).cuda()).mean())
"""

PAIRS = """
def overlaps(anchors, boxes):
    return (anchors[:, None] - boxes[None]).abs().sum(-1)

train(Net().cuda(), [1000] * 3)
for boxes in (20, 30, 3000):
    overlaps(torch.randn(20_000, 4).cuda(), torch.randn(boxes, 4).cuda())
"""

FRAGMENTATION = """
kept = [torch.empty(8 * 2**20, dtype=torch.uint8, device="cuda") for _ in range(100)]
del kept[::2]
large = torch.empty(200 * 2**20, dtype=torch.uint8, device="cuda")
"""

RETRY = """
def step(model, size):
    model(torch.randn(size, 256).cuda()).square().mean().backward()

model = Net().cuda()
try:
    step(model, 80_000)
except torch.OutOfMemoryError:
    torch.cuda.empty_cache()
    step(model, 20_000)
"""

LOGITS = """
model = Net(classes=30_000).cuda()
x, y = torch.randn(4000, 256).cuda(), torch.randint(30_000, (4000,)).cuda()
loss = nn.functional.cross_entropy(model(x), y)
loss.backward()
"""

RESUME = """
torch.save(Net(width=2048, depth=3).cuda().state_dict(), "checkpoint.pt")
model = Net(width=2048, depth=3).cuda()
checkpoint = torch.load("checkpoint.pt")
model.load_state_dict(checkpoint)
loss = model(torch.randn(8, 2048).cuda()).sum()
loss.backward()
"""

LONG_BATCH = """
def train_on(model, lengths):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for length in lengths:
        loss = model(torch.randn(16, length, 256).cuda()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

train_on(Net().cuda(), [200, 300, 250, 280, 260, 240] * 4 + [3000])
"""

ATTENTION = """
def attend(q, k, v):
    scores = q @ k.transpose(-1, -2)
    return scores.softmax(-1) @ v

x = torch.randn(32, 4096, 32, device="cuda", requires_grad=True)
attend(x, x, x)
"""

LIMIT = """
torch.cuda.set_per_process_memory_fraction(0.25)
train(Net().cuda(), [40_000])
"""

TOO_BIG = "too big at one moment"

CASES = [
    pytest.param(
        EVAL_GRAD, "1GiB", TOO_BIG, "return x + self.down(torch.relu(self.up(x)))", "torch.no_grad()",
        id="eval-grad (P001, P055)",
    ),
    pytest.param(CAPACITY, "1300MiB", TOO_BIG, "optimizer.step()", "less state", id="capacity (P026)"),
    pytest.param(
        DEVICE_BUFFER, "1GiB", TOO_BIG, 'on_card = [d.to("cuda") for d in data]', "Keep data on the host",
        id="device-buffer (P223)",
    ),
    pytest.param(
        HISTORY, "1GiB", "leak", "history.append(model(torch.randn(2000, 256).cuda()).mean())", "",
        id="history-accum (P177, P220)",
    ),
    pytest.param(
        PAIRS, "1GiB", TOO_BIG, "return (anchors[:, None] - boxes[None]).abs().sum(-1)", "(20000, 3000, 4) in pieces",
        id="variable-batch (P173)",
    ),
    pytest.param(
        FRAGMENTATION, "1GiB", "fragmentation", 'large = torch.empty(200 * 2**20, dtype=torch.uint8, device="cuda")',
        "expandable_segments", id="fragmentation (P219)",
    ),
    pytest.param(
        RETRY, "1GiB", TOO_BIG, "return x + self.down(torch.relu(self.up(x)))", "`except` block has ended (MD108)",
        id="the second attempt runs inside the handler of the first (P046)",
    ),
    pytest.param(
        LOGITS, "1500MiB", TOO_BIG, "loss.backward()", "(4000, 30000) and the 2 of its size in pieces",
        id="capacity: logits over a large vocabulary (P076)",
    ),
    pytest.param(
        RESUME, "1100MiB", TOO_BIG, "loss.backward()", 'Load the checkpoint to the host (`map_location="cpu"`)',
        id="ckpt-load (P206)",
    ),
    pytest.param(
        LONG_BATCH, "500MiB", TOO_BIG, "return x + self.down(torch.relu(self.up(x)))",
        "Halve the batch", id="variable-batch: one that is longer (P161)",
    ),
    pytest.param(
        ATTENTION, "2GiB", TOO_BIG, "scores = q @ k.transpose(-1, -2)", "scaled_dot_product_attention",
        id="capacity: attention's scores",
    ),
]


def report_of(folder: Path, program: str, card: str) -> RunReport:
    script = folder / "train.py"
    script.write_text(NETWORK + textwrap.dedent(program))
    outcome = run(str(script), [], module=False, card=card, output=None)
    assert isinstance(outcome.error, torch.OutOfMemoryError), outcome.error
    assert outcome.report.end.outcome == OUT_OF_MEMORY
    return outcome.report


@pytest.mark.parametrize(("program", "card", "kind", "statement", "first_advice"), CASES)
def test_the_first_line_is_the_cause_and_the_line_and_then_comes_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, card: str, kind: str, statement: str,
    first_advice: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    report = report_of(tmp_path, program, card)
    assert report.cause is not None and report.crash is not None and report.crash.breakdown is not None
    text = run_text(report)
    assert text.startswith(f"memdoctor: out of memory, {kind}. ")
    lines = [text.strip() for text in (NETWORK + program).splitlines()]
    line = 1 + max(number for number, text in enumerate(lines) if text == statement)
    assert f"train.py:{line} " in text.split("\n\n")[0].replace("\n", " ")
    assert first_advice in (report.cause.advice[0] if first_advice else "")
    assert sum(report.crash.breakdown.category_bytes.values()) == report.crash.allocated_bytes


@pytest.mark.parametrize(
    ("program", "card", "says"),
    [
        pytest.param(CAPACITY, "1300MiB", "(first optimizer step) asked for", id="when the states are made"),
        pytest.param(EVAL_GRAD, "1GiB", "the model evaluates with gradients on", id="why activations are kept"),
        pytest.param(RETRY, "1GiB", "are of an attempt that had run out of memory before", id="who keeps the first"),
        pytest.param(LONG_BATCH, "500MiB", "This batch is 10.0 times the largest before it.", id="an unusual batch"),
        pytest.param(ATTENTION, "2GiB", "(float32 [32, 4096, 4096])", id="what was asked for"),
    ],
)
def test_the_first_paragraph_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, card: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cause = report_of(tmp_path, program, card).cause
    assert cause is not None and says in cause.explanation


def test_where_the_model_fills_the_card_a_smaller_batch_is_not_advised(tmp_path: Path) -> None:
    cause = report_of(tmp_path, CAPACITY, "1300MiB").cause
    assert cause is not None and cause.advice[-1].startswith("A smaller batch would not help")
    assert not any("Halve the batch" in advice for advice in cause.advice)


def test_a_limit_of_the_programs_own_is_named(tmp_path: Path) -> None:
    report = report_of(tmp_path, LIMIT, "4GiB")
    assert report.cause is not None and report.cause.kind == "limit"
    assert "This process may have 1.0 GiB of the card" in report.cause.explanation


def test_an_error_that_the_program_survives_is_no_crash_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text(NETWORK + textwrap.dedent("""
        for size in (2**40, 2**39, 2**10):
            try:
                torch.empty(size, device="cuda")
            except torch.OutOfMemoryError:
                pass
    """))
    report = run(str(script), [], module=False, card="1GiB", output=None).report
    assert report.crash is None and report.cause is None
    assert report.end.survived_refusals == 2
    line = 1 + NETWORK.count("\n") + 3
    assert report.end.survived_at == (Location("train.py", line),)
    said = f"2 times the card was full, at train.py:{line}, and the program"
    assert f"survived    {said}" in run_text(report)
    assert said in " ".join(run_text(report).partition("\n\n")[0].split())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("then", "is_crash"),
    [
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", True, id="before it could go on"),
        pytest.param("train(Net().cuda(), [10]); os.kill(os.getpid(), signal.SIGKILL)", False, id="later"),
    ],
)
def test_a_process_that_is_killed_when_the_card_is_full_leaves_the_crash_behind(
    tmp_path: Path, then: str, is_crash: bool
) -> None:
    (tmp_path / "train.py").write_text(NETWORK + textwrap.dedent(f"""
        import os, signal
        try:
            torch.empty(2**40, device="cuda")
        except torch.OutOfMemoryError:
            {then}
    """))
    command = [sys.executable, "-m", "memdoctor", "run", "--virtual", "1GiB", "--output", "run.mdoc", "train.py"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120).returncode == -9
    report = read_run(tmp_path / "run.mdoc")
    assert report.end.outcome == CUT_OFF and (report.crash is not None) == is_crash
    assert report.header.device.total_bytes == 2**30
    assert ("out of memory" in run_text(report).splitlines()[0]) == is_crash


def test_the_refusal_that_ends_a_run_was_not_survived(tmp_path: Path) -> None:
    end = report_of(tmp_path, CAPACITY, "1300MiB").end
    assert (end.survived_refusals, end.survived_at) == (0, ())
