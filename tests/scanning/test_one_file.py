"""One file takes bounded time, and leaves nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.findings import Report
from memdoctor.rules import ALL_RULES, Source
from memdoctor.rules._patience import OutOfPatience, check_time, patience
from memdoctor.scanning import one_file

LEAK = "import torch\nfor x, y in loader:\n    loss = criterion(model(x), y)\n    loss.backward()\n    total += loss\n"
GIVEN_UP = "took longer than 0 s, given up"


class TestPatience:
    def test_ends(self) -> None:
        with patience(0), pytest.raises(OutOfPatience):
            check_time()

    def test_does_not_end_what_is_quick_or_has_no_limit(self) -> None:
        with patience(60):
            check_time()
        check_time()

    def test_is_as_it_was_afterwards(self) -> None:
        with pytest.raises(OutOfPatience), patience(0):
            check_time()
        check_time()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(one_file, "MOST_SECONDS", 0.0)
    path = tmp_path / "slow.py"
    path.write_text(LEAK, encoding="utf-8")
    return path


class TestAFileThatTakesTooLong:
    def test_is_skipped_and_says_so(self, path: Path) -> None:
        assert [(item.what, item.why) for item in memdoctor.scan(path).skipped] == [(str(path), GIVEN_UP)]

    def test_in_a_thread_too(self, path: Path) -> None:
        reports: list[Report] = []
        thread = threading.Thread(target=lambda: reports.append(memdoctor.scan(path)))
        thread.start()
        thread.join()
        assert [item.why for item in reports[0].skipped] == [GIVEN_UP]

    def test_in_several_processes_too(self, tmp_path: Path) -> None:
        for number in range(120):
            (tmp_path / f"{number}.py").write_text(LEAK, encoding="utf-8")
        program = (
            "import sys, memdoctor\n"
            "from memdoctor.scanning import one_file\n"
            "one_file.MOST_SECONDS = 0.0\n"
            "skipped = memdoctor.scan(sys.argv[1], processes=2).skipped\n"
            f"assert {{item.why for item in skipped}} == {{{GIVEN_UP!r}}} and len(skipped) == 120\n"
        )
        command = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(LEAK, id="a loop"),
        pytest.param("class A(B):\n    def f(self):\n        def g():\n            return f()\n", id="nested scopes"),
    ],
)
def test_a_tree_needs_no_collector_to_be_freed(text: str) -> None:
    """Collecting the trees of thousands of files took a third of a scan."""
    source = Source("train.py", text)
    tree = weakref.ref(source.tree)
    gc.disable()
    try:
        one_file.check(source, ALL_RULES)
        del source
        assert tree() is None
    finally:
        gc.enable()


def test_a_file_without_a_candidate_is_not_searched_for_parents() -> None:
    """They cost as much as all rules together; a rule asks for them when it has something to report."""
    source = Source("train.py", f"{LEAK}optimizer.zero_grad()\nmodel.load_state_dict(state)\nx = x.to(device)\n")
    assert [finding.code for rule in ALL_RULES for finding in rule.check(source)] == ["MD101"]
    assert "parents" not in vars(source)
