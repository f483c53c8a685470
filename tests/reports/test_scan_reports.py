"""What the forms of a scan promise to their readers; the golden files, compared elsewhere, show how they look."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

import memdoctor
from memdoctor.foundation.findings import Confidence, Finding, Location, Report, Skipped
from memdoctor.foundation.fingerprints import fingerprints
from memdoctor.reports.github import scan_github
from memdoctor.reports.junit import scan_junit
from memdoctor.reports.sarif import scan_sarif
from memdoctor.reports.scan_statistics import scan_statistics
from memdoctor.reports.scan_text import scan_text
from memdoctor.rules import ALL_RULES
from tests.golden.scans import IN_A_NOTEBOOK, KEPT, OVER_SEVERAL_LINES, RULES, SCANS

SCHEMA = jsonschema.Draft4Validator(json.loads(Path(__file__).with_name("sarif_schema.json").read_text("utf-8")))


def _at(finding: Finding, **place: Any) -> Finding:
    assert finding.location is not None
    return dataclasses.replace(finding, location=dataclasses.replace(finding.location, **place))


def _caret_lines(excerpt: str, column: int, end_column: int) -> tuple[str, str]:
    location = Location("a.py", 7, column, 7, end_column)
    lines = scan_text(Report((dataclasses.replace(KEPT, excerpt=excerpt, location=location),))).split("\n")
    return lines[3].partition(" | ")[2], lines[4].partition(" | ")[2]


class TestText:
    @pytest.mark.parametrize(
        ("excerpt", "column", "end_column", "carets"),
        [
            pytest.param("  total += loss", 3, 16, "  ^^^^^^^^^^^^^", id="a range"),
            pytest.param("\tx += y", 2, 8, "\t^^^^^^", id="a tab stays one"),
            pytest.param("\u6f22 += y", 6, 7, "      ^", id="wide characters take two columns"),
            pytest.param("e\u0301 += y", 7, 8, "     ^", id="combining marks take none"),
            pytest.param("x", 9, 9, " ^", id="a place behind the line still gets a mark"),
        ],
    )
    def test_the_carets_stand_under_the_code(self, excerpt: str, column: int, end_column: int, carets: str) -> None:
        assert _caret_lines(excerpt, column, end_column) == (excerpt, carets)

    def test_a_line_of_thousands_of_characters_is_cut_around_the_finding(self) -> None:
        line, carets = _caret_lines("a" * 5000 + "total += x" + "b" * 5000, 5001, 5011)
        assert len(line) == 160
        assert line[carets.index("^"):len(carets)] == "total += x"

    def test_escape_sequences_of_a_scanned_file_do_not_reach_the_terminal(self) -> None:
        assert "\x1b" not in scan_text(SCANS["findings"])

    def test_colours_for_a_terminal_change_nothing_else(self) -> None:
        coloured = scan_text(SCANS["findings"], colour=True)
        assert f"\x1b[1m{KEPT.location}:9: \x1b[0m\x1b[1;31mMD101" in coloured
        assert re.sub(r"\x1b\[[\d;]+m", "", coloured) == scan_text(SCANS["findings"])

    @pytest.mark.parametrize(
        ("report", "last"),
        [
            (Report(), "No findings."),
            (Report((IN_A_NOTEBOOK,)), "1 finding (1 info)."),
            (Report((KEPT,)), "1 finding (1 error), fixable: 1 with --fix."),
            (Report(hidden=3), "No findings, 3 hidden as too unsure (--min-confidence low shows them)."),
            (Report(known=3), "No new findings, 3 known from the baseline."),
            (Report(skipped=(Skipped("a.py", "why"),) * 2), "No findings, 2 files skipped."),
        ],
    )
    def test_the_last_line_counts(self, report: Report, last: str) -> None:
        assert scan_text(report).rstrip("\n").rpartition("\n")[2] == last


class TestStatistics:
    def test_the_most_frequent_rule_is_first(self) -> None:
        report = Report((OVER_SEVERAL_LINES, KEPT, KEPT))
        assert scan_statistics(report).split("\n")[:2] == [
            "2  MD101  loss-kept-with-graph", "1  MD301  load-without-map-location",
        ]


class TestGithub:
    def test_a_line_is_a_command(self) -> None:
        lines = scan_github(SCANS["findings"]).splitlines()
        assert [line.split(" ", 1)[0] for line in lines] == ["::error", "::error", "::warning", "::notice", "::notice"]

    def test_what_would_end_a_command_is_escaped(self) -> None:
        finding = dataclasses.replace(_at(KEPT, path="a,b:c%.py"), message="one\ntwo", advice=None)
        assert scan_github(Report((finding,))) == (
            "::error file=a%2Cb%3Ac%25.py,line=12,endLine=12,col=9,endColumn=22,title=MD101 loss-kept-with-graph"
            "::one%0Atwo\n"
        )

    def test_a_clean_scan_says_nothing(self) -> None:
        assert scan_github(Report()) == ""


class TestJunit:
    @pytest.mark.parametrize("name", SCANS)
    def test_the_counts_are_those_of_the_cases(self, name: str) -> None:
        suite = ElementTree.fromstring(scan_junit(SCANS[name]).encode())[0]
        for attribute, tag in (("tests", "testcase"), ("failures", ".//failure"), ("skipped", ".//skipped")):
            assert int(suite.attrib[attribute]) == len(suite.findall(tag))

    def test_a_clean_scan_is_a_test_that_passed(self) -> None:
        (case,) = ElementTree.fromstring(scan_junit(Report()).encode())[0]
        assert len(case) == 0

    def test_characters_that_xml_cannot_write_are_replaced(self) -> None:
        finding = dataclasses.replace(KEPT, message="a\x1b\ud800b", excerpt="\x0c<&>")
        failure = ElementTree.fromstring(scan_junit(Report((finding,))).encode())[0][0][0]
        assert failure.attrib["message"] == "a\ufffd\ufffdb"


class TestSarif:
    """`sarif_schema.json` is the schema of OASIS, SARIF 2.1.0 with errata 01, without its descriptions."""

    @pytest.mark.parametrize("name", SCANS)
    def test_is_valid_by_the_schema(self, name: str) -> None:
        SCHEMA.validate(json.loads(scan_sarif(SCANS[name], RULES)))

    def test_whatever_is_scanned(self, tmp_path: Path) -> None:
        """A file and a notebook with safe and unsafe fixes, in several lines, beside what cannot be read."""
        fixtures = sorted((Path(__file__).parents[1] / "rules" / "fixtures").glob("*_finds.py"))
        (tmp_path / "a b.ipynb").write_text(json.dumps({"cells": [
            {"cell_type": "code", "source": path.read_text(encoding="utf-8")} for path in fixtures
        ]}), encoding="utf-8")
        (tmp_path / "broken.py").write_text("import torch\nprint 'x'\n", encoding="utf-8")
        report = memdoctor.scan([*fixtures, tmp_path], min_confidence=Confidence.LOW)
        log = json.loads(scan_sarif(report, [rule.text for rule in ALL_RULES]))
        SCHEMA.validate(log)
        assert {result["ruleId"] for result in log["runs"][0]["results"]} == {rule.code for rule in ALL_RULES}

    def test_a_schema_that_accepts_everything_would_prove_nothing(self) -> None:
        log = json.loads(scan_sarif(SCANS["findings"], RULES))
        log["runs"][0]["results"][0]["level"] = "terrible"
        assert not SCHEMA.is_valid(log)

    @pytest.mark.parametrize("name", SCANS)
    def test_says_what_the_schema_leaves_open(self, name: str) -> None:
        log = json.loads(scan_sarif(SCANS[name], RULES))
        (run,) = log["runs"]
        assert run["tool"]["driver"]["name"] == "memdoctor"
        assert all(isinstance(item["executionSuccessful"], bool) for item in run["invocations"])
        for result in run["results"]:
            assert result["message"]["text"]
            assert result["level"] in {"none", "note", "warning", "error"}
            assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            for fix in result.get("fixes", []):
                assert all(change["artifactLocation"] and change["replacements"] for change in fix["artifactChanges"])

    def test_regions_count_from_one_and_do_not_run_backwards(self) -> None:
        (run,) = json.loads(scan_sarif(SCANS["findings"], RULES))["runs"]
        regions = [
            place["physicalLocation"]["region"] for result in run["results"] for place in result["locations"]
            if "region" in place["physicalLocation"]
        ]
        assert len(regions) == 3
        for region in regions:
            assert (1, 1) <= (region["startLine"], region["startColumn"]) < (region["endLine"], region["endColumn"])

    @pytest.mark.parametrize(
        ("path", "uri"),
        [
            ("src/a b#.py", {"uri": "src/a%20b%23.py", "uriBaseId": "%SRCROOT%"}),
            ("/src/é.py", {"uri": "file:///src/%C3%A9.py"}),
        ],
    )
    def test_a_path_is_a_valid_uri(self, path: str, uri: dict[str, str]) -> None:
        (run,) = json.loads(scan_sarif(Report((_at(KEPT, path=path),)), RULES))["runs"]
        assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == uri

    def test_only_safe_fixes_are_handed_out(self) -> None:
        (run,) = json.loads(scan_sarif(Report((KEPT, OVER_SEVERAL_LINES)), RULES))["runs"]
        assert ["fixes" in result for result in run["results"]] == [True, False]

    def test_a_rule_has_its_documentation_as_help(self) -> None:
        (run,) = json.loads(scan_sarif(Report(), RULES))["runs"]
        described = run["tool"]["driver"]["rules"]
        assert [rule["help"]["text"] for rule in described] == [rule.documentation for rule in RULES]


class TestFingerprints:
    def test_a_line_that_moved_keeps_its_own(self) -> None:
        moved = dataclasses.replace(_at(KEPT, line=90, end_line=90, column=1), excerpt="total += loss  # 100% of it")
        assert fingerprints([moved]) == fingerprints([KEPT])

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(dataclasses.replace(KEPT, code="MD102"), id="another rule"),
            pytest.param(dataclasses.replace(KEPT, excerpt="total += other"), id="another line"),
            pytest.param(_at(KEPT, path="src/other.py"), id="another file"),
        ],
    )
    def test_another_finding_has_another(self, other: Finding) -> None:
        assert fingerprints([other]) != fingerprints([KEPT])

    def test_two_alike_are_told_apart(self) -> None:
        first, second = fingerprints([KEPT, KEPT])
        assert first != second
        assert re.fullmatch("[0-9a-f]{32}", first)

    def test_a_file_may_be_named_in_another_way(self) -> None:
        assert fingerprints([_at(KEPT, path="./src/../src/train.py")]) == fingerprints([KEPT])
