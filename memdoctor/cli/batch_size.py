"""`memdoctor batch-size`: the largest batch that fits a card, tried in processes of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from memdoctor.batch_size import TIME_LIMIT_SECONDS, find_batch_size
from memdoctor.foundation.batch_sizes import LARGEST_SIZE, BatchSize, CardFit, WhichCards
from memdoctor.foundation.errors import BadInput
from memdoctor.reports.batch_size_json import batch_size_json
from memdoctor.reports.batch_size_svg import batch_size_svg
from memdoctor.reports.batch_size_text import batch_size_text, trial_line
from memdoctor.reports.which_cards_json import which_cards_json
from memdoctor.reports.which_cards_text import card_line, which_cards_text
from memdoctor.user_script import UserScript, script
from memdoctor.which_cards import which_cards

_COUNT = click.IntRange(min=1)
_SECONDS = click.FloatRange(min=0, min_open=True)


def _part(text: str) -> float:
    """Read `2%` or `0.02` as a part of one."""
    try:
        part = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no part of a card. Write 2%.") from None
    if not 0 <= part < 1:
        raise click.BadParameter(f"{text} leaves nothing of the card. Write 2%.")
    return part


def _setting(text: str) -> tuple[str, int]:
    """Read `seq_len=512`."""
    name, _, number = text.partition("=")
    if not (name.isidentifier() and number.isdigit()):
        raise click.BadParameter(f"{text!r} sets no argument of the function. Write seq_len=512.")
    return name, int(number)


@click.command(name="batch-size", short_help="Find the largest batch that fits a card.")
@click.option("--card", metavar="CARD", help="A card of the catalogue, or a size such as 24GiB; else the real card.")
@click.option("--batch-arg", metavar="NAME", help="An argument of a script: --batch-size, data.bs.")
@click.option("--axis", metavar="NAME", default="", help="Search this argument of the function instead: seq_len.")
@click.option("--at", type=_setting, multiple=True, metavar="NAME=NUMBER", help="A fixed one besides: batch_size=8.")
@click.option("--multiple-of", type=_COUNT, default=1, show_default=True, help="Try only multiples of this.")
@click.option("--max", "max_size", type=_COUNT, default=LARGEST_SIZE, show_default=True, help="Try nothing larger.")
@click.option("--margin", type=_part, default="0%", metavar="PERCENT", help="Leave this part of the card free.")
@click.option("--which-cards", "size", type=_COUNT, metavar="SIZE", help="List the cards that fit this size.")
@click.option("--in-copy", is_flag=True, help="Run trials in a copy of the working directory.")
@click.option("--nproc", "ranks", type=_COUNT, default=1, show_default=True, help="Ranks, a card and a batch for each.")
@click.option("--time-limit", type=_SECONDS, default=TIME_LIMIT_SECONDS, show_default=True, help="For one trial.")
@click.option("--format", "form", type=click.Choice(["text", "json", "svg"]), default="text", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the answer there instead.")
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    card: str | None,
    batch_arg: str | None,
    axis: str,
    at: tuple[tuple[str, int], ...],
    multiple_of: int,
    max_size: int,
    margin: float,
    size: int | None,
    in_copy: bool,
    ranks: int,
    time_limit: float,
    form: str,
    output: Path | None,
    program: str,
    arguments: tuple[str, ...],
) -> None:
    """Find the largest batch size whose training steps fit on a card.

    PROGRAM is FILE.py:FUNCTION, where FUNCTION(batch_size) builds model, optimizer and one batch and returns a function
    that runs one training step, or a trainer of Lightning or transformers. Or it is a script as it stands: `train.py
    --batch-arg --batch-size -- ARGUMENTS` starts it with that argument changed and ends it after three steps.

    Without --card the real card is used; with it no GPU is needed. Each size is tried in a fresh process, with --nproc
    in so many that train together, in the environment that torchrun makes. Exit code 1 if not even the smallest size
    fits.
    """
    if size is not None and (card is not None or ranks > 1 or form not in _REPORTS_OF_CARDS):
        found = "--which-cards looks at all cards, one at a time, and has no picture."
        raise BadInput(found, "Leave --card, --nproc and --format svg out.")
    _refuse_unwritable(output)
    options: dict[str, Any] = {
        "margin": margin, "axis": axis, "at": dict(at), "in_copy": in_copy, "time_limit_seconds": time_limit}
    named = _program(program, batch_arg, arguments)
    if size is not None:
        cards = which_cards(named, size, on_trial=_tell_card, **options)
        _write(_REPORTS_OF_CARDS[form](cards), output)
        ctx.exit(0 if any(each.trial.fits for each in cards.cards) else 1)
    what = axis or batch_arg or "batch size"
    answer = find_batch_size(
        named, card=card, multiple_of=multiple_of, max_size=max_size, ranks=ranks,
        on_trial=lambda trial: click.echo(f"memdoctor: {trial_line(trial, what)}", err=True), **options)
    _write(_REPORTS[form](answer), output)
    ctx.exit(0 if answer.batch_size else 1)


_REPORTS: dict[str, Callable[[BatchSize], str]] = {
    "text": batch_size_text, "json": batch_size_json, "svg": batch_size_svg}
_REPORTS_OF_CARDS: dict[str, Callable[[WhichCards], str]] = {"text": which_cards_text, "json": which_cards_json}


def _program(program: str, batch_arg: str | None, arguments: tuple[str, ...]) -> str | UserScript:
    if batch_arg is not None:
        return script(program, batch_arg, arguments)
    if arguments:
        raise BadInput(
            f"{' '.join(arguments)} can only be given to a script.",
            f"Say which of its arguments sets the batch size: memdoctor batch-size {program} --batch-arg --batch-size",
        )
    return program


def _tell_card(card: CardFit) -> None:
    click.echo(f"memdoctor: {card_line(card)}", err=True)


def _write(text: str, output: Path | None) -> None:
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
