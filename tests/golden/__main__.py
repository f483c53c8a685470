"""Writes every golden report anew."""

from __future__ import annotations

from pathlib import Path

from memdoctor.reports.run_json import run_json
from memdoctor.reports.run_text import run_text
from tests.golden.records import RUNS

FOLDER = Path(__file__).parent


def reports() -> dict[str, str]:
    """File name to content."""
    texts = {f"run_{name}.txt": run_text(report) for name, report in RUNS.items()}
    objects = {f"run_{name}.json": run_json(report) for name, report in RUNS.items()}
    return {name: content + "\n" for name, content in (texts | objects).items()}


if __name__ == "__main__":
    for name, content in reports().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
