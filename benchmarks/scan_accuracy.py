"""How often a rule finds a labelled place of real code, and how often it reports one that is fine.

The code is not part of the project: unpack the labelled commits as FOLDER/<owner>+<name>/<path>. EVIDENCE holds three
tables of tab-separated text: `scan_labels_open.tsv` (places with a verdict, tp: must report, fp: must not),
`scan_exhaustive_open.tsv` (files whose every true place is labelled) and `scan_fixcommits_open.tsv` (commits that
repaired a place: reported before, fewer findings of that rule after); for the last one, MIRROR holds the repositories.

    python benchmarks/scan_accuracy.py FOLDER EVIDENCE MIRROR

A label is met by a finding of its rule within two lines; for rules about a function, by one in the function. Recall is
what was found of the true places. Precision counts labelled places only, save for the files that are labelled whole.
Findings of low confidence, which a scan hides, count for labels and not for commits.
"""

from __future__ import annotations

import ast
import csv
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import _results

import memdoctor
from memdoctor.foundation.findings import Confidence

TOLERANCE_LINES = 2
ABOUT_FUNCTIONS = frozenset({"MD201", "MD206", "MD302"})
ALSO_RIGHT = {"MD206": "MD201", "MD201": "MD206"}
"""An evaluation that relies on `volatile` may be called by either name."""

_OUTCOMES = {("tp", True): "found", ("tp", False): "missed", ("fp", True): "false", ("fp", False): "quiet"}
Row = dict[str, str]
Found = dict[tuple[str, str], list[int]]
"""Lines by path and rule."""


def main(folder: Path, evidence: Path, mirror: Path) -> None:
    """Scan the labelled files and repaired versions, write the figures, and print them."""
    rows = _read(evidence / "scan_labels_open.tsv")
    present = [(path, row) for row in rows if (path := _path_in(folder, row)).exists()]
    whole = [path for row in _read(evidence / "scan_exhaustive_open.tsv") if (path := _path_in(folder, row)).exists()]
    found = _findings([path for path, _ in present] + whole, Confidence.LOW)
    figures: dict[str, object] = {"labels": len(rows), "labels_without_their_file": len(rows) - len(present)}
    figures.update(_by_rule(present, found))
    figures["files_labelled_whole"] = _whole_files(whole, present, found)
    figures["fix_commits"] = _fix_commits(_read(evidence / "scan_fixcommits_open.tsv"), mirror)
    print(_results.write("scan_accuracy", figures).read_text(encoding="utf-8"))


def _read(table: Path) -> list[Row]:
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def _path_in(folder: Path, row: Row) -> Path:
    return folder / row["repo"].replace("/", "+", 1) / row["path"]


def _findings(paths: list[Path], least: Confidence) -> Found:
    lines: Found = defaultdict(list)
    for finding in memdoctor.scan(sorted(set(paths)), min_confidence=least).findings:
        if finding.location is not None:
            lines[finding.location.path, finding.code].append(finding.location.line)
    return lines


def _by_rule(present: list[tuple[Path, Row]], found: Found) -> dict[str, object]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for path, row in present:
        outcome = _OUTCOMES[row["verdict"], _is_met(path, row["rule"], int(row["line"]), found)]
        counts[row["rule"]][outcome] += 1
        counts["all"][outcome] += 1
    return {rule: _with_ratios(count) for rule, count in sorted(counts.items())}


def _is_met(path: Path, rule: str, line: int, found: Found) -> bool:
    near = range(line - TOLERANCE_LINES, line + TOLERANCE_LINES + 1)
    around = (_function_around(path, line) if rule in ABOUT_FUNCTIONS else None) or near
    codes = (rule, ALSO_RIGHT.get(rule, rule))
    return any(where in around or where in near for code in codes for where in found.get((str(path), code), ()))


def _function_around(path: Path, line: int) -> range | None:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return None
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    spans = [range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in functions]
    return min((span for span in spans if line in span), key=len, default=None)


def _with_ratios(count: Counter[str]) -> dict[str, object]:
    return {
        **{outcome: count[outcome] for outcome in _OUTCOMES.values()},
        "recall": _ratio(count["found"], count["missed"]),
        "precision": _ratio(count["found"], count["false"]),
    }


def _ratio(part: int, rest: int) -> float | None:
    return round(part / (part + rest), 3) if part + rest else None


def _whole_files(whole: list[Path], present: list[tuple[Path, Row]], found: Found) -> dict[str, object]:
    """Every finding in these files is right or wrong, every true place is labelled."""
    true = [(path, row["rule"], int(row["line"])) for path, row in present if row["verdict"] == "tp" and path in whole]
    answered = sum(_is_met(path, rule, line, found) for path, rule, line in true)
    reported = [(path, code, line) for path in whole for (where, code), lines in found.items() if where == str(path)
                for line in lines]
    right = sum(_is_right(finding, true) for finding in reported)
    return {
        "files": len(whole), "true_places": len(true), "answered": answered, "findings": len(reported), "right": right,
        "recall": _ratio(answered, len(true) - answered), "precision": _ratio(right, len(reported) - right),
    }


def _is_right(finding: tuple[Path, str, int], true: list[tuple[Path, str, int]]) -> bool:
    path, code, line = finding
    alone: Found = {(str(path), code): [line]}
    return any(_is_met(path, rule, place, alone) for where, rule, place in true if where == path)


def _fix_commits(rows: list[Row], mirror: Path) -> dict[str, object]:
    """For each rule: found and cleared, found and still reported, missed; for rule `none`: silent or false.

    With the places that are neither cleared nor silent.
    """
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    other: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(rows):
            versions = list(_versions(row, mirror, Path(folder) / str(number)))
            outcome = _repair(row, *versions) if len(versions) == 2 else "not available"
            outcomes[row["rule"]][outcome] += 1
            if outcome not in ("found and cleared", "silent"):
                other.append(f"{row['rule']} {row['repo']} {row['path']}:{row['line_in_parent']}, {outcome}")
    counts = {rule: dict(sorted(count.items())) for rule, count in sorted(outcomes.items())}
    return {**counts, "neither_cleared_nor_silent": other}


def _versions(row: Row, mirror: Path, folder: Path) -> Iterator[Path]:
    base = mirror / row["repo"].replace("/", "+", 1)
    git = next((base / tail for tail in ("repo/.git", "repo", ".git", ".") if (base / tail / "HEAD").exists()), base)
    for version in ("parent_sha", "fix_sha"):
        command = ["git", "--git-dir", str(git), "show", f"{row[version]}:{row['path']}"]
        shown = subprocess.run(command, capture_output=True, check=False)
        if shown.returncode == 0:
            path = folder / version / Path(row["path"]).name
            path.parent.mkdir(parents=True)
            path.write_bytes(shown.stdout)
            yield path


def _repair(row: Row, before: Path, after: Path) -> str:
    found, line = _findings([before, after], Confidence.MEDIUM), int(row["line_in_parent"])
    if row["rule"] == "none":
        reported = [where for (path, _), lines in found.items() if path == str(before) for where in lines]
        return "false" if any(abs(where - line) <= TOLERANCE_LINES for where in reported) else "silent"
    if not _is_met(before, row["rule"], line, found):
        return "missed"
    codes = {row["rule"], ALSO_RIGHT.get(row["rule"], row["rule"])}
    counts = [sum(len(found.get((str(path), code), ())) for code in codes) for path in (before, after)]
    return "found and cleared" if counts[1] < counts[0] else "found, still reported"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
