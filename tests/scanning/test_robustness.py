"""Whatever stands in a file, there is an answer: no fault, no search without end, and fixes that hold."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdoctor.foundation.findings import Applicability, Confidence
from memdoctor.rules import ALL_RULES
from memdoctor.scanning.fixes import fix_of
from memdoctor.scanning.one_file import scan_bytes
from tests.scanning.programs import PROGRAMS

EVERY = frozenset(Applicability)
_SPEC = importlib.util.find_spec("test")
_FOLDER = Path(_SPEC.origin).parent if _SPEC is not None and _SPEC.origin else Path("not installed")
_NAMES = "test_grammar test_patma test_named_expressions test_generators test_contextlib_async test_type_params".split()
_MANY = 400


@given(PROGRAMS)
@settings(max_examples=200, deadline=None)
def test_programs_of_the_words_that_rules_know(text: str) -> None:
    """Parsed or not, a program is scanned and fixed; after that there is nothing left to fix."""
    data = text.encode()
    report = scan_bytes("train.py", data, ALL_RULES)
    assert all(item.why.startswith("not Python 3") for item in report.skipped)
    fix = fix_of("train.py", data, ALL_RULES, Confidence.LOW, EVERY)
    assert fix is None or fix_of("train.py", fix.after, ALL_RULES, Confidence.LOW, EVERY) is None


@pytest.mark.parametrize("name", ["a.py", "a.ipynb"])
@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_bytes_of_any_kind(name: str, data: bytes) -> None:
    assert not any("report this" in item.why for item in scan_bytes(name, b"torch" + data, ALL_RULES).skipped)


@pytest.mark.parametrize("name", _NAMES)
def test_python_s_own_tests(name: str) -> None:
    """These hold every construct; all 1,790 files of them and of the standard library were scanned by hand."""
    path = _FOLDER / f"{name}.py"
    if not path.exists():
        pytest.skip("this Python was installed without that test of its own")
    report = scan_bytes(str(path), path.read_bytes() + b"\n# torch\n", ALL_RULES)
    assert (report.findings, report.skipped) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("d = {" + ",".join(f"'k{n}': [{n}] * 3" for n in range(20 * _MANY)) + "}\n", id="a table"),
        pytest.param("for x in loader:\n    loss = model(x)\n" + "    total += loss\n" * _MANY, id="sums"),
        pytest.param("".join(f"{' ' * n}for x in loader:\n" for n in range(20)) + " " * 20 + "model(x)\n", id="nested"),
        pytest.param("".join(f"def f{n}(x):\n    return f{n + 1}(x), f{n + 2}(x)\n" for n in range(_MANY)), id="calls"),
        pytest.param("for x in loader:\n" + "    if x:\n        loss = g(loss)\n" * _MANY, id="branches"),
    ],
)
def test_what_could_take_forever_ends(text: str) -> None:
    """Each doubled or squared with its length at some time, or would with a walk that is written more simply."""
    report = scan_bytes("train.py", f"import torch\nloss.backward()\nmodel.eval()\n{text}".encode(), ALL_RULES)
    assert all("nested too deeply" in item.why for item in report.skipped)
