"""Writes a benchmark's figures beside the machine, the date and the versions they were measured with."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path

from memdoctor import __version__

FOLDER = Path(__file__).parent / "results"


def write(name: str, figures: dict[str, object]) -> Path:
    """`results/NAME.json`; replaces the last measurement, whose history git keeps."""
    path = FOLDER / f"{name}.json"
    record = {
        "benchmark": name,
        "date": datetime.date.today().isoformat(),
        "machine": {
            "processor": _processor(), "cores": os.cpu_count(), "system": platform.system(), **_pace(),
        },
        "versions": {"python": platform.python_version(), "torch": version("torch"), "memdoctor": __version__},
        "figures": figures,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def _pace() -> dict[str, float]:
    """How busy the machine was, and the same small piece of work by both clocks.

    Figures of two records compare as their loops do; a processor clock that runs slow is seen here and nowhere else.
    """
    started = time.perf_counter(), time.process_time()
    total = 0
    for number in range(5_000_000):
        total += number
    return {
        "load_average": round(os.getloadavg()[0], 1),
        "loop_seconds": round(time.perf_counter() - started[0], 3),
        "loop_processor_seconds": round(time.process_time() - started[1], 3),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def version(distribution: str) -> str:
    """Of an installed distribution, as text for the record."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
