"""`memdoctor rules`: the rules of the scan, one a line."""

from __future__ import annotations

import click

from memdoctor.explain import rule_texts


@click.command("rules")
def command() -> None:
    """List the rules of `memdoctor scan`.

    Each with its code, its severity, its name, and what it finds; `memdoctor explain CODE` says more.
    """
    width = max(len(rule.name) for rule in rule_texts())
    for rule in rule_texts():
        click.echo(f"{rule.code}  {rule.severity.value:7}  {rule.name:{width}}  {rule.summary}")
