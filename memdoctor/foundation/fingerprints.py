"""What stays the same about a finding when the lines around it change.

It is made of the code, the file, and the text of the line without its spaces, not of the line's number. Findings that
are alike in all three are numbered in the order of the file.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable

from memdoctor.foundation.findings import Finding
from memdoctor.foundation.locations import shown_path


def fingerprints(findings: Iterable[Finding]) -> list[str]:
    """One for each finding, in their order: 32 hexadecimal digits."""
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for finding in findings:
        identity = _identity(finding)
        seen[identity] += 1
        found.append(_digest([*identity, str(seen[identity])]))
    return found


def _identity(finding: Finding) -> tuple[str, ...]:
    path = finding.location.path if finding.location else ""
    name = shown_path(os.path.normpath(path)).replace(os.sep, "/")
    return finding.code, name, "".join(finding.excerpt.split()) or finding.variable or ""


def _digest(parts: Iterable[str]) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]
