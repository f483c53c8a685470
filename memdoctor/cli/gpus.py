"""`memdoctor gpus`: the cards of this machine and the processes that fill them."""

from __future__ import annotations

import contextlib
import time

import click

from memdoctor.gpus import gpus, virtual_cards
from memdoctor.reports.gpus_json import catalogue_json, gpus_json
from memdoctor.reports.gpus_text import catalogue_text, gpus_text

_REFRESH_S = 1.0


@click.command(name="gpus", short_help="Show the cards of this machine and who fills them.")
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@click.option("--catalogue", is_flag=True, help="List the virtual cards instead.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(watch: bool, catalogue: bool, form: str) -> None:
    """Show the cards of this machine and the processes that fill them.

    Asks NVML, else GPUtil, else nvidia-smi. Exit code 0, also without a card.
    """
    if catalogue:
        cards = virtual_cards()
        click.echo(catalogue_json(cards) if form == "json" else catalogue_text(cards))
        return
    if not watch:
        _show(form)
        return
    with contextlib.suppress(KeyboardInterrupt):
        _show_every_second(form)


def _show_every_second(form: str) -> None:
    while True:
        if form == "text":
            click.clear()  # does nothing where the output is no terminal
        _show(form)
        time.sleep(_REFRESH_S)


def _show(form: str) -> None:
    report = gpus()
    click.echo(gpus_json(report) if form == "json" else gpus_text(report))
