"""A scan as a table of its rules: how often each one found something, the most frequent first."""

from __future__ import annotations

from collections import Counter

from memdoctor.foundation.findings import Report
from memdoctor.reports.scan_text import counts


def scan_statistics(report: Report) -> str:
    """Columns: number, code, name; then the line of counts that the text form ends with."""
    found = Counter((finding.code, finding.name) for finding in report.findings)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    width = max((len(str(number)) for _, number in ranked), default=0)
    table = "".join(f"{number:>{width}}  {code}  {name}\n" for (code, name), number in ranked)
    return f"{table}{counts(report)}\n"
