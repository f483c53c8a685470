"""Hand-made scans, one for each answer that a report of them can give."""

from __future__ import annotations

from memdoctor.foundation.findings import (
    Advice,
    Applicability,
    Confidence,
    Edit,
    Finding,
    Location,
    Report,
    RuleText,
    Severity,
    Skipped,
)

RULES = (
    RuleText("MD101", "loss-kept-with-graph", Severity.ERROR, "A loss is kept.\n\nIt is slow.\n\nBad::\n\n    x"),
    RuleText("MD301", "load-without-map-location", Severity.WARNING, "A load.\n\nTo the first card."),
    RuleText("MD401", "empty-cache-in-loop", Severity.INFO, "A slow call.\n\nIt frees nothing."),
)

KEPT = Finding(
    code="MD101",
    name="loss-kept-with-graph",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    message="`total` keeps the graph of `loss` of every iteration.",
    location=Location("src/train.py", 12, 9, 12, 22),
    variable="total",
    advice=Advice("Keep `loss.detach()`.", Applicability.SAFE, (Edit(12, 22, 12, 22, ".detach()"),)),
    excerpt="        total += loss  # 100% of it",
)

OVER_SEVERAL_LINES = Finding(
    code="MD301",
    name="load-without-map-location",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    message="`torch.load` without `map_location` puts the tensors where they were saved.",
    location=Location("src/a b, c.py", 3, 10, 5, 6),
    advice=Advice('Add `map_location="cpu"`.', Applicability.UNSAFE, (Edit(4, 9, 4, 9, ', map_location="cpu"'),)),
    excerpt="\tstate = torch.load(",
)

IN_A_NOTEBOOK = Finding(
    code="MD401",
    name="empty-cache-in-loop",
    severity=Severity.INFO,
    confidence=Confidence.HIGH,
    message="`empty_cache()` runs in every iteration.",
    location=Location("explore.ipynb", 4, 5, 4, 29, cell=3),
    advice=Advice("Delete this line."),
    excerpt="    torch.cuda.empty_cache()  # \x1b[31mé\u6f22",
)

SCANS = {
    "findings": Report((KEPT, KEPT, OVER_SEVERAL_LINES, IN_A_NOTEBOOK), 2, (Skipped("old.py", "not Python 3: <x>"),)),
    "clean": Report(),
    "hidden": Report(hidden=1),
}
