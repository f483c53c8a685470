"""A scan as JUnit XML, which test dashboards read: a finding is a failed test case of its file.

There is no standard; this keeps to what Jenkins and GitLab read: `testsuites`, `testsuite`, `testcase`, `failure`,
`skipped`. A clean scan is one test case that passed, because a suite without any counts as a broken one.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from memdoctor.foundation.findings import Finding, Report, Skipped

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write (its production 2, `Char`)."""


def scan_junit(report: Report) -> str:
    """An XML document, with a newline at the end."""
    root = ElementTree.Element("testsuites")
    number = len(report.findings) + len(report.skipped)
    counts = {"tests": max(1, number), "failures": len(report.findings), "errors": 0, "skipped": len(report.skipped)}
    suite = _add(root, "testsuite", name="memdoctor", **counts)
    for finding in report.findings:
        _finding(suite, finding)
    for item in report.skipped:
        _skipped(suite, item)
    if not number:
        _add(suite, "testcase", name="scan", classname="memdoctor")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _finding(suite: ElementTree.Element, finding: Finding) -> None:
    path = finding.location.path if finding.location else ""
    place = {"file": path, "line": finding.location.line} if finding.location else {}
    case = _add(suite, "testcase", name=f"{finding.code} {finding.name}", classname=path, **place)
    failure = _add(case, "failure", type=finding.severity.value, message=finding.message)
    where = f"{finding.location}:{finding.location.column}" if finding.location else ""
    advice = finding.advice.text if finding.advice else ""
    failure.text = _clean("\n".join(filter(None, [where, finding.excerpt.strip(), advice])))


def _skipped(suite: ElementTree.Element, item: Skipped) -> None:
    case = _add(suite, "testcase", name="skipped", classname=item.what)
    _add(case, "skipped", message=item.why)


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {key: _clean(str(value)) for key, value in attributes.items()})


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
