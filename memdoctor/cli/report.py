"""`memdoctor report`: a recorded run, rendered on any machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from memdoctor.foundation.looks import LEAKS
from memdoctor.report import read_run, thin_run
from memdoctor.reports.run_json import run_json
from memdoctor.reports.run_text import run_text


@click.command(name="report", short_help="Show a recorded run again, on any machine.")
@click.argument("recording", metavar="RUN.mdoc", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--thin", "target", type=click.Path(path_type=Path), metavar="SMALL.mdoc",
              help="Write a copy with at most 1,000 of the iterations, and show nothing.")
@click.pass_context
def command(ctx: click.Context, recording: Path, form: str, target: Path | None) -> None:
    """Show a run that `memdoctor run --output RUN.mdoc` recorded; `-` reads it from standard input.

    Exit code 1 if the run leaks, so that `memdoctor report` can guard a pipeline.
    """
    source = sys.stdin.buffer if str(recording) == "-" else recording
    if target is not None:
        thin_run(source, target)
        return
    report = read_run(source)
    click.echo(run_json(report) if form == "json" else run_text(report))
    ctx.exit(1 if report.growth.verdict in LEAKS else 0)
