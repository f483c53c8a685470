"""`memdoctor scan`: findings to standard output or a file; exit code 1 if there are any, 2 if a file was unreadable.

Forms, fixes and baselines are loaded when they are asked for: a hook before each commit waits for this command.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

import click

from memdoctor.explain import rule_texts
from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.findings import Confidence, Report, Skipped
from memdoctor.reports.progress_bar import ProgressBar
from memdoctor.scan import scan
from memdoctor.scanning.one_file import shown
from memdoctor.scanning.questions import Questions

_FORMATS = {
    "text": "scan_text", "json": "json", "sarif": "sarif", "github": "github", "junit": "junit",
    "statistics": "scan_statistics",
}
"""Each is `memdoctor/reports/FILE.py`, loaded when it is asked for."""


def _codes(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    codes = [code for value in values for code in value.replace(",", " ").split()]
    if parameter.name == "select" and values and not codes:
        raise BadInput("--select names no rule.", "Name one, as MD101, or leave the option out.")
    return codes


@click.command("scan")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format", "form", type=click.Choice(list(_FORMATS)), default="text", show_default=True,
    help="Form of the report.",
)
@click.option("--output", metavar="FILE", help="Write the report there instead of to standard output.")
@click.option("--select", multiple=True, metavar="CODES", callback=_codes, help="Only these rules, as MD101,MD201.")
@click.option("--ignore", multiple=True, metavar="CODES", callback=_codes, help="All rules but these.")
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave out in folders what matches, as a line of .gitignore.",
)
@click.option(
    "--min-confidence", type=click.Choice([level.value for level in Confidence]),
    help="Hide findings that are less sure; medium if nothing else is said.",
)
@click.option("--baseline", metavar="FILE", help="Report only what is not known from that file.")
@click.option("--write-baseline", is_flag=True, help="Make all findings known in the --baseline file.")
@click.option("--fix", is_flag=True, help="Repair what has a safe fix, and report the rest.")
@click.option("--unsafe-fixes", is_flag=True, help="Also repair where the program's results may change.")
@click.option("--diff", is_flag=True, help="Show what would be repaired, and write nothing.")
@click.option("--no-cache", is_flag=True, help="Do not use .memdoctor_cache for unchanged files.")
@click.option("--exit-zero", is_flag=True, help="Exit code 0 also if there are findings.")
@click.pass_context
def command(
    context: click.Context, paths: tuple[str, ...], form: str, output: str | None,
    select: list[str], ignore: list[str], exclude: tuple[str, ...], min_confidence: str | None,
    baseline: str | None, write_baseline: bool, fix: bool, unsafe_fixes: bool, diff: bool,
    no_cache: bool, exit_zero: bool,
) -> None:
    """Find code that wastes or keeps GPU memory, without running it.

    PATH is a Python file, a notebook, a folder, a glob in quotes, or - for standard input. A line is
    left alone with the comment "# memdoctor: ignore[MD101]". Settings of a project are [tool.memdoctor] in
    pyproject.toml or [memdoctor] in setup.cfg: select, ignore, exclude, min-confidence. Exit code
    0: clean, 1: findings, 2: a PATH could not be read; in a folder, such files are only listed.
    """
    level = Confidence(min_confidence) if min_confidence else None
    if fix or unsafe_fixes or diff:
        fixed = _fix(paths, Questions(tuple(select), tuple(ignore), level, exclude), unsafe_fixes, diff)
        if diff:
            context.exit(1 if fixed and not exit_zero else 0)
    with ProgressBar("scanning", sys.stderr) as progress:
        report = scan(
            paths, select=select, ignore=ignore, exclude=exclude, min_confidence=level,
            processes=_processors(), cached=not no_cache, progress=progress,
        )
    if baseline is not None:
        report = _compared(report, baseline, write_baseline)
    elif write_baseline:
        raise BadInput("--write-baseline has no file to write.", "Name it with --baseline FILE.")
    _write(_rendered(report, form, colour=output is None and _is_coloured()), output)
    unread = {shown(path) for path in paths} & {item.what for item in report.skipped}
    context.exit(BadInput.exit_code if unread else 1 if report.findings and not exit_zero else 0)


def _fix(paths: tuple[str, ...], questions: Questions, unsafe: bool, dry_run: bool) -> int:
    """Says on standard error what was done; in a dry run the changes go to standard output. The number of files."""
    from memdoctor.fix import diff_of, fixes

    files = findings = 0
    for item in fixes(paths, questions, unsafe=unsafe, dry_run=dry_run):
        if isinstance(item, Skipped):
            click.echo(f"memdoctor: {item.what}: {item.why}", err=True)
            continue
        files, findings = files + 1, findings + item.findings
        if dry_run:
            click.echo(diff_of(item), nl=False)
    done = "would be fixed" if dry_run else "fixed"
    text = f"{findings} {done} in {files} file{'' if files == 1 else 's'}" if files else "there is nothing to fix"
    click.echo(f"memdoctor: {text}.", err=True)
    return files


def _processors() -> int:
    """Those that this process may run on; one where processes cannot be forked."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _compared(report: Report, baseline: str, write: bool) -> Report:
    from memdoctor.scanning import baseline as known

    if write:
        known.write_baseline(report, baseline)
    return known.only_new(report, baseline)


def _is_coloured() -> bool:
    """On a terminal, unless the user has asked for none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _rendered(report: Report, form: str, *, colour: bool) -> str:
    module = importlib.import_module(f"memdoctor.reports.{_FORMATS[form]}")
    render: Callable[..., str] = getattr(module, f"scan_{form}")
    if form == "text":
        return render(report, colour=colour)
    return render(report, rule_texts()) if form == "sarif" else render(report)


def _write(text: str, output: str | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with open(output, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror}.", "Name another file with --output.") from error
