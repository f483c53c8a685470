"""A comment `# memdoctor: ignore[...]` hides nothing.

It was true once, or its code is misspelt. Left where it is, it will hide the next finding on that line, which nobody
has looked at.

Bad::

    total = 0.0  # memdoctor: ignore[MD101]

Good::

    total = 0.0

Does not see: codes of rules that were not asked for, with --select or --ignore.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Confidence, Finding, Severity
from memdoctor.foundation.locations import Location
from memdoctor.rules._edits import without_comment
from memdoctor.rules._ignores import EVERY_CODE, UNUSED_IGNORE, Ignore
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source


def check(source: Source) -> Iterator[Finding]:
    """Report what no finding has used; to be asked after all other rules."""
    for ignore, codes in source.ignores.unused():
        what = "anything" if codes == [EVERY_CODE] else ", ".join(codes)
        yield Finding(
            RULE.code,
            RULE.name,
            RULE.severity,
            Confidence.HIGH,
            f"There is nothing to ignore here for {what}.",
            Location(source.path, ignore.line, ignore.column, ignore.line, ignore.end_column),
            advice=_advice(source, ignore, codes),
            excerpt=source.lines[ignore.line - 1],
        )


def _advice(source: Source, ignore: Ignore, codes: list[str]) -> Advice:
    if len(codes) < len(ignore.codes):
        return Advice(f"Delete {', '.join(codes)} from the comment.")
    if not ignore.ends_comment:
        return Advice("Delete the comment.")
    return Advice("Delete the comment.", Applicability.SAFE, (without_comment(source, ignore),))


RULE = Rule(UNUSED_IGNORE, "unused-ignore", Severity.INFO, check)
