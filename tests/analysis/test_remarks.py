"""Each code that only a run finds can be explained, and no two mean different things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import memdoctor.analysis
from memdoctor.analysis.remarks import RUN_TIME_CODES
from memdoctor.explain import explain
from memdoctor.foundation.findings import RuleText
from memdoctor.rules import ALL_RULES


@pytest.mark.parametrize("text", RUN_TIME_CODES, ids=lambda text: str(text.code))
def test_a_code_of_a_run_is_explained_by_code_and_by_name(text: RuleText) -> None:
    assert explain(text.code) == explain(text.name.upper())
    assert text.documentation in explain(text.code) and len(text.summary) < 80


def test_every_code_that_these_analyses_find_has_a_text() -> None:
    known = {(rule.code, rule.name) for rule in ALL_RULES} | {(text.code, text.name) for text in RUN_TIME_CODES}
    folder = Path(memdoctor.analysis.__file__).parent
    sources = "".join((folder / f"{name}.py").read_text(encoding="utf-8") for name in ("host", "cache", "phases"))
    found = re.findall(r'code="(MD\d+)",\s+name="([a-z-]+)"', sources)
    assert len(found) == 10 and set(found) <= known
