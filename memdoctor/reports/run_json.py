"""The report of a run as one JSON object, for other programs."""

from __future__ import annotations

import json

from memdoctor.foundation.records import VERSION, plain
from memdoctor.foundation.runs import RunReport


def run_json(report: RunReport) -> str:
    """Sizes in bytes; `iterations` are the readings, `growth` the verdict, `skipped` what was not looked at.

    `remarks` are findings that are no leak of device memory. `crash` and `cause` are null unless the card was full.
    """
    return json.dumps(
        {
            "version": VERSION,
            "program": report.header.program,
            "started": report.header.started,
            "outcome": plain(report.end),
            "device": plain(report.header.device),
            "peak": {
                "allocated_bytes": report.peak_allocated_bytes,
                "reserved_bytes": report.peak_reserved_bytes,
            },
            "peak_breakdown": plain(report.peak_breakdown),
            "iteration_breakdown": plain(report.iteration_breakdown),
            "crash": plain(report.crash),
            "cause": plain(report.cause),
            "iterations": plain(report.timeline.readings),
            "growth": plain(report.growth),
            "findings": plain(report.findings),
            "remarks": plain(report.remarks),
            "host": plain(report.host),
            "loaders": plain(report.loaders),
            "phases": plain(report.phases),
            "skipped": plain(report.skipped),
        },
        indent=1,
    )
