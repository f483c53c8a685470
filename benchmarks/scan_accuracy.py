"""How often a rule finds a labelled place of real code, and how often it reports one that is fine.

The code is not part of the project: unpack the labelled commits as FOLDER/<owner>+<name>/<path>. The labels are lines
of tab-separated text with at least the columns repo, path, line, rule and verdict (tp: must report, fp: must not).

    python benchmarks/scan_accuracy.py FOLDER LABELS.tsv

A label is met by a finding of its rule within two lines; for MD201, which is about a function, by one in the function.
Recall is what was found of the true places. Precision counts labelled places only.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections import defaultdict
from pathlib import Path

import _results

import memdoctor
from memdoctor.rules import ALL_RULES

TOLERANCE_LINES = 2
ABOUT_FUNCTIONS = frozenset({"MD201"})
_OUTCOMES = {("tp", True): "found", ("tp", False): "missed", ("fp", True): "false", ("fp", False): "quiet"}


def main(folder: Path, labels: Path) -> None:
    """Scan the labelled files, write the figures per rule, and print them."""
    rows = [(folder / row["repo"].replace("/", "+", 1) / row["path"], row) for row in _read(labels)]
    present = [(path, row) for path, row in rows if path.exists()]
    found = _findings([path for path, _ in present])
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_OUTCOMES.values(), 0))
    for path, row in present:
        counts[row["rule"]][_OUTCOMES[row["verdict"], _is_met(path, row, found)]] += 1
    figures: dict[str, object] = {"labels": len(rows), "labels_without_their_file": len(rows) - len(present)}
    figures.update({rule: _with_ratios(count) for rule, count in sorted(counts.items())})
    print(_results.write("scan_accuracy", figures).read_text(encoding="utf-8"))


def _read(labels: Path) -> list[dict[str, str]]:
    known = {rule.code for rule in ALL_RULES}
    with labels.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row for row in rows if row["rule"] in known]


def _findings(paths: list[Path]) -> dict[tuple[str, str], list[int]]:
    """Lines by path and rule."""
    lines: dict[tuple[str, str], list[int]] = defaultdict(list)
    for finding in memdoctor.scan(sorted(set(paths))).findings:
        if finding.location is not None:
            lines[finding.location.path, finding.code].append(finding.location.line)
    return lines


def _is_met(path: Path, row: dict[str, str], found: dict[tuple[str, str], list[int]]) -> bool:
    line = int(row["line"])
    near = range(line - TOLERANCE_LINES, line + TOLERANCE_LINES + 1)
    wanted = _function_around(path, line) or near if row["rule"] in ABOUT_FUNCTIONS else near
    return any(where in wanted or where in near for where in found.get((str(path), row["rule"]), ()))


def _function_around(path: Path, line: int) -> range | None:
    tree = ast.parse(path.read_bytes())
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    spans = [range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in functions]
    return min((span for span in spans if line in span), key=len, default=None)


def _with_ratios(count: dict[str, int]) -> dict[str, object]:
    return {
        **count,
        "recall": _ratio(count["found"], count["missed"]),
        "precision": _ratio(count["found"], count["false"]),
    }


def _ratio(part: int, rest: int) -> float | None:
    return round(part / (part + rest), 3) if part + rest else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
