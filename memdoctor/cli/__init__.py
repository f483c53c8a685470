"""The command line: one file per command, listed here and loaded when it is called.

Only this folder prints and exits. Exit codes: 0 clean, 1 findings, 2 misuse, 3 memdoctor itself failed.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from memdoctor import __version__
from memdoctor.foundation.errors import MemdoctorError

COMMANDS = ("scan", "run", "batch-size", "report", "gpus", "rules", "explain")
"""Each is `memdoctor/cli/NAME.py` with a click command called `command`."""


class Interrupted(Exception):
    """The user's program was ended by Ctrl-C; this process has to end as it would have."""


class _Commands(click.Group):
    """Imports a command's file when that command is asked for, so that `--help` costs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"memdoctor.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="memdoctor")
def cli() -> None:
    """Find out why a PyTorch program runs out of GPU memory."""


def main() -> None:
    """Run a command and exit; an error of the tree is a sentence and its exit code, never a traceback."""
    try:
        code = cli(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("memdoctor: interrupted.", err=True)
        code = 130
    except MemdoctorError as error:
        click.echo(f"memdoctor: {error}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        code = _reader_left()
    except Interrupted:
        sys.excepthook = lambda kind, error, trace: None  # the program's traceback has been shown
        raise KeyboardInterrupt from None
    except Exception:  # a defect of ours; Python's own exit code for it, 1, would say "findings"
        click.echo(f"{traceback.format_exc()}memdoctor: this is a defect of memdoctor, please report it.", err=True)
        code = MemdoctorError.exit_code
    sys.exit(code)


def _reader_left() -> int:
    """`| head` closed the pipe: what was wanted has been read. Stdout must go elsewhere, or exit complains about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
