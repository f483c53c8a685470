"""What a rule is: a code, a name, and a check that reads one source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memdoctor.foundation.findings import Advice, Confidence, Finding, RuleText, Severity
from memdoctor.rules._source import Source


@dataclass(frozen=True)
class Rule:
    """One pattern. Its documentation is the docstring of the file that defines `check`, and nowhere else."""

    code: str
    name: str
    severity: Severity
    check: Callable[[Source], Iterator[Finding]]

    @property
    def documentation(self) -> str:
        """What it finds, why that costs memory, Bad, Good, and what it does not see."""
        return (sys.modules[self.check.__module__].__doc__ or "").strip()

    @property
    def text(self) -> RuleText:
        """The rule as reports describe it."""
        return RuleText(self.code, self.name, self.severity, self.documentation)

    def finding(
        self,
        source: Source,
        node: ast.stmt | ast.expr,
        message: str,
        *,
        variable: str | None = None,
        advice: Advice | None = None,
        severity: Severity | None = None,
        confidence: Confidence = Confidence.HIGH,
    ) -> Finding:
        """A finding of this rule at a node; columns count characters from 1."""
        return Finding(
            self.code,
            self.name,
            severity or self.severity,
            confidence,
            message,
            source.location(node),
            variable,
            advice,
            excerpt=source.lines[node.lineno - 1],
        )
