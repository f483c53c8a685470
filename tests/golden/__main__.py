"""Writes every golden report anew."""

from __future__ import annotations

from pathlib import Path

from memdoctor.reports.github import scan_github
from memdoctor.reports.json import scan_json
from memdoctor.reports.junit import scan_junit
from memdoctor.reports.run_json import run_json
from memdoctor.reports.run_text import run_text
from memdoctor.reports.sarif import scan_sarif
from memdoctor.reports.scan_statistics import scan_statistics
from memdoctor.reports.scan_text import scan_text
from tests.golden.crashes import CRASHES
from tests.golden.records import RUNS
from tests.golden.scans import RULES, SCANS

FOLDER = Path(__file__).parent
SCAN_FORMS = {
    "txt": scan_text,
    "json": scan_json,
    "sarif": lambda report: scan_sarif(report, RULES),
    "github": scan_github,
    "xml": scan_junit,
    "statistics": scan_statistics,
}


def reports() -> dict[str, str]:
    """File name to content."""
    texts = {f"run_{name}.txt": run_text(report) for name, report in (RUNS | CRASHES).items()}
    objects = {f"run_{name}.json": run_json(report) for name, report in RUNS.items()}
    runs = {name: content + "\n" for name, content in (texts | objects).items()}
    scans = {f"scan_{name}.{form}": write(scan) for name, scan in SCANS.items() for form, write in SCAN_FORMS.items()}
    return runs | scans


if __name__ == "__main__":
    for name, content in reports().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
