"""`memdoctor run`: an unmodified script, watched, on the real or the virtual GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from memdoctor.cli import Interrupted, give_up_output, is_about_output, tell
from memdoctor.reports.run_json import run_json
from memdoctor.reports.run_text import run_text


@click.command(
    name="run",
    short_help="Run a script and name what keeps its memory.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-m", "module", is_flag=True, help="SCRIPT is a module, as in `python -m`.")
@click.option("--virtual", "card", metavar="CARD", help="A card of the catalogue, a size such as 24GiB, or `none`.")
@click.option("--values", type=click.Choice(["zeros", "real"]), default="zeros", show_default=True,
              help="`real`: compute on the host what runs on the virtual card.")
@click.option("--devices", type=click.IntRange(min=1), default=1, metavar="N",
              help="How many virtual cards there are: cuda:0, cuda:1, ...")
@click.option("--at", type=click.IntRange(min=0), metavar="ITERATION",
              help="Also show where the bytes are after this iteration, counted from 0.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE.mdoc", help="Record the run to a file.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    module: bool, card: str | None, values: Literal["zeros", "real"], devices: int, at: int | None,
    output: Path | None, form: str,
    script: str, arguments: tuple[str, ...],
) -> None:
    """Run SCRIPT with its ARGUMENTS as `python SCRIPT ARGUMENTS` would, and say what keeps its memory.

    Without a GPU, tensors that ask for CUDA go to a virtual one, which computes values only where `--values real` asks
    for it. The exit code is the script's; the report follows its output.
    """
    from memdoctor.run import NO_CARD, choose_card, run  # torch comes with it, and --help must not pay for it

    chosen = choose_card(card)

    def announce() -> None:
        if card is None and chosen != NO_CARD:
            count = "" if devices == 1 else f"{devices} x "
            tell(f"memdoctor: no GPU here; what asks for CUDA runs on a virtual {count}{chosen}.")

    outcome = run(
        script, arguments, module=module, card=chosen, output=output, values=values, devices=devices, at=at,
        on_start=announce)
    if outcome.error is not None and not isinstance(outcome.error, SystemExit):
        sys.excepthook(type(outcome.error), outcome.error, outcome.error.__traceback__)
    _show(run_json(outcome.report) if form == "json" else run_text(outcome.report))
    _leave(outcome.error)


def _show(text: str) -> None:
    """A report that cannot be printed does not change how the program ended, which may have been within a line."""
    try:
        click.echo(f"\n{text}")
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not is_about_output(error):
            raise
        give_up_output(error)


def _leave(error: BaseException | None) -> None:
    """End as Python ends after the same exception: with the same exit code, and after Ctrl-C by the same signal."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, KeyboardInterrupt):
        raise Interrupted
    if error is not None:
        sys.exit(1)
