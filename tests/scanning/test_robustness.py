"""Every construct of Python goes through every rule: what Python tests itself with is neither reported nor a fault."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from memdoctor.rules import ALL_RULES
from memdoctor.scanning.one_file import scan_bytes

_SPEC = importlib.util.find_spec("test")
_FOLDER = Path(_SPEC.origin).parent if _SPEC is not None and _SPEC.origin else Path("not installed")
_NAMES = "test_grammar test_patma test_named_expressions test_generators test_contextlib_async test_type_params".split()


@pytest.mark.parametrize("name", _NAMES)
def test_python_s_own_tests(name: str) -> None:
    path = _FOLDER / f"{name}.py"
    if not path.exists():
        pytest.skip("this Python was installed without that test of its own")
    report = scan_bytes(str(path), path.read_bytes() + b"\n# torch\n", ALL_RULES)
    assert (report.findings, report.skipped) == ((), ())
