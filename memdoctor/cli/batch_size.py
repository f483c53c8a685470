"""`memdoctor batch-size`: the largest batch that fits a card, tried in processes of its own."""

from __future__ import annotations

from pathlib import Path

import click

from memdoctor.batch_size import TIME_LIMIT_SECONDS, find_batch_size
from memdoctor.foundation.batch_sizes import LARGEST_SIZE, BatchSize, Trial
from memdoctor.foundation.errors import BadInput
from memdoctor.reports.batch_size_json import batch_size_json
from memdoctor.reports.batch_size_text import batch_size_text, trial_line

_COUNT = click.IntRange(min=1)
_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command(name="batch-size", short_help="Find the largest batch that fits a card.")
@click.option("--card", metavar="CARD", help="A card of the catalogue, or a size such as 24GiB; else the real card.")
@click.option("--multiple-of", type=_COUNT, default=1, show_default=True, help="Try only multiples of this.")
@click.option("--max", "max_size", type=_COUNT, default=LARGEST_SIZE, show_default=True, help="Try nothing larger.")
@click.option("--time-limit", type=_SECONDS, default=TIME_LIMIT_SECONDS, show_default=True, help="For one trial.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the answer there instead.")
@click.argument("function", metavar="FILE.py:FUNCTION")
@click.pass_context
def command(
    ctx: click.Context,
    card: str | None,
    multiple_of: int,
    max_size: int,
    time_limit: float,
    form: str,
    output: Path | None,
    function: str,
) -> None:
    """Find the largest batch size whose training steps fit on a card.

    FUNCTION(batch_size) builds model, optimizer and one batch, and returns a function that runs one training step.
    Without --card the real card is used; with it no GPU is needed. Each size is tried in a fresh process. Exit code 1
    if not even the smallest size fits.
    """
    _refuse_unwritable(output)
    result = find_batch_size(
        function,
        card=card,
        multiple_of=multiple_of,
        max_size=max_size,
        time_limit_seconds=time_limit,
        on_trial=_tell_progress,
    )
    _write(result, form, output)
    ctx.exit(0 if result.batch_size else 1)


def _tell_progress(trial: Trial) -> None:
    click.echo(f"memdoctor: {trial_line(trial)}", err=True)


def _write(result: BatchSize, form: str, output: Path | None) -> None:
    text = batch_size_json(result) if form == "json" else batch_size_text(result)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


def _refuse_unwritable(output: Path | None) -> None:
    """Before the search, which takes a while; an existing file is left as it is until there is an answer."""
    if output is None:
        return
    try:
        output.open("a", encoding="utf-8").close()
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror}.", "Name a file in a folder of yours.") from error
