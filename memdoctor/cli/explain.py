"""`memdoctor explain`: prints the documentation of a rule, which is the docstring of the file that defines it."""

from __future__ import annotations

import click

from memdoctor.rules import find_rule


@click.command("explain")
@click.argument("rule", metavar="CODE")
def command(rule: str) -> None:
    """Say what a rule finds, why it costs memory, and what to write instead.

    CODE is a rule's code or name, as MD101 or loss-kept-with-graph.
    """
    found = find_rule(rule)
    click.echo(f"{found.code} {found.name} ({found.severity.value})\n\n{found.documentation}")
