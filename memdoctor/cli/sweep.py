"""`memdoctor sweep`: several batch sizes on several cards, in one table."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from memdoctor.batch_size import TIME_LIMIT_SECONDS
from memdoctor.foundation.errors import BadInput
from memdoctor.foundation.sweeps import Sweep
from memdoctor.reports.progress_bar import ProgressBar
from memdoctor.reports.sweep_json import sweep_json
from memdoctor.reports.sweep_text import sweep_text
from memdoctor.sweep import sweep

_SECONDS = click.FloatRange(min=0, min_open=True)


def _sizes(ctx: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if 0 in sizes:
        raise click.BadParameter(f"{text} is no list of batch sizes such as 8,16,32")
    return sizes


def _cards(ctx: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


@click.command(name="sweep", short_help="Try batch sizes on several cards.")
@click.option("--sizes", required=True, callback=_sizes, metavar="N,N,...", help="Batch sizes.")
@click.option("--cards", required=True, callback=_cards, metavar="CARD,...", help="Cards of the catalogue, or sizes.")
@click.option("--results", type=click.Path(path_type=Path), metavar="FILE", help="Go on where this file ends.")
@click.option("--ray", "on_ray", is_flag=True, help="Run the trials on Ray.")
@click.option("--processes", type=click.IntRange(min=1), help="Trials at a time without Ray; default: one for a core.")
@click.option("--time-limit", type=_SECONDS, default=TIME_LIMIT_SECONDS, show_default=True, help="For one trial.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the table there instead.")
@click.argument("function", metavar="FILE.py:FUNCTION")
@click.pass_context
def command(
    ctx: click.Context,
    sizes: list[int],
    cards: list[str],
    results: Path | None,
    on_ray: bool,
    processes: int | None,
    time_limit: float,
    form: str,
    output: Path | None,
    function: str,
) -> None:
    """Try each batch size on each virtual card, with whole training steps.

    FUNCTION(batch_size) builds model, optimizer and one batch, and returns a function that runs one training step. With
    --results a sweep that was broken off goes on where it stopped. Exit code 1 if no size fits on any card.
    """
    _refuse_unwritable(output)
    with ProgressBar("trying", sys.stderr) as progress:
        result = sweep(
            function, sizes=sizes, cards=cards, results=results, on_ray=on_ray, processes=processes,
            time_limit_seconds=time_limit, on_progress=progress,
        )
    _write(result, form, output)
    ctx.exit(0 if any(point.fits for point in result.points) else 1)


def _refuse_unwritable(output: Path | None) -> None:
    """Before the sweep, which takes a while; an existing file is left as it is until there is a table."""
    if output is None:
        return
    try:
        output.open("a", encoding="utf-8").close()
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror}.", "Name a file in a folder of yours.") from error


def _write(result: Sweep, form: str, output: Path | None) -> None:
    text = sweep_json(result) if form == "json" else sweep_text(result)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")
