"""`memdoctor report`: a recorded run, rendered on any machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from memdoctor.foundation.looks import LEAKS
from memdoctor.foundation.runs import RunReport
from memdoctor.report import read_run, thin_run
from memdoctor.reports.github import scan_github
from memdoctor.reports.junit import scan_junit
from memdoctor.reports.run_findings import run_findings
from memdoctor.reports.run_json import run_json
from memdoctor.reports.run_text import run_text
from memdoctor.reports.sarif import scan_sarif


def _sarif(report: RunReport) -> str:
    from memdoctor.explain import all_texts  # all rules come with it

    return scan_sarif(run_findings(report), all_texts())


_FORMATS: dict[str, Callable[[RunReport], str]] = {
    "text": lambda report: f"{run_text(report)}\n",
    "json": lambda report: f"{run_json(report)}\n",
    "sarif": _sarif,
    "github": lambda report: scan_github(run_findings(report)),
    "junit": lambda report: scan_junit(run_findings(report)),
}


@click.command(name="report", short_help="Show a recorded run again, on any machine.")
@click.argument("recording", metavar="RUN.mdoc", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="text", show_default=True)
@click.option("--thin", "target", type=click.Path(path_type=Path), metavar="SMALL.mdoc",
              help="Write a copy with at most 1,000 of the iterations, and show nothing.")
@click.pass_context
def command(ctx: click.Context, recording: Path, form: str, target: Path | None) -> None:
    """Show a run that `memdoctor run --output RUN.mdoc` recorded; `-` reads it from standard input.

    Exit code 1 if the run leaks or was out of memory, so that `memdoctor report` can guard a pipeline.
    """
    source = sys.stdin.buffer if str(recording) == "-" else recording
    if target is not None:
        thin_run(source, target)
        return
    report = read_run(source)
    click.echo(_FORMATS[form](report), nl=False)
    ctx.exit(1 if report.growth.verdict in LEAKS or report.crash is not None else 0)
