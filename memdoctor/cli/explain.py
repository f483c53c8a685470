"""`memdoctor explain`: says what a code means."""

from __future__ import annotations

import click

from memdoctor.explain import explain


@click.command("explain", short_help="Say what a rule finds and what to write instead.")
@click.argument("code")
def command(code: str) -> None:
    """Say what a rule finds, why it costs memory, and what to write instead.

    CODE is a rule's code or name, as MD101 or loss-kept-with-graph.
    """
    click.echo(explain(code), nl=False)
