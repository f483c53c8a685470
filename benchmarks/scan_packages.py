"""What a scan of whole packages finds, and that it gets through them.

    python benchmarks/scan_packages.py NAME=FOLDER [NAME=FOLDER ...]

FOLDER is scanned with every rule and every file in it, also those that a plain scan leaves out. `findings` counts high
and medium confidence; `skipped` counts files that are not Python 3, or took too long. A traceback ends the run.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import _results

import memdoctor
from memdoctor.foundation.findings import Confidence


def main(folders: dict[str, Path]) -> None:
    """Scan each folder, write the figures, and print them."""
    figures = {name: _figures_of(folder) for name, folder in folders.items()}
    print(_results.write("scan_packages", {"packages": figures}).read_text(encoding="utf-8"))


def _figures_of(folder: Path) -> dict[str, object]:
    files = sorted(folder.rglob("*.py"))
    before = time.process_time()
    report = memdoctor.scan(files, min_confidence=Confidence.MEDIUM)
    seconds = time.process_time() - before
    counts = Counter(f"{finding.code} {finding.confidence.value}" for finding in report.findings)
    return {
        "files": len(files),
        "findings": dict(sorted(counts.items())),
        "skipped": len(report.skipped),
        "seconds_of_processor": round(seconds, 2),
    }


if __name__ == "__main__":
    main({name: Path(folder) for name, folder in (argument.split("=", 1) for argument in sys.argv[1:])})
