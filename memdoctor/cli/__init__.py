"""The command line: one file per command, listed here and loaded when it is called.

Only this folder prints and exits. Exit codes: 0 clean, 1 findings, 2 misuse, 3 memdoctor itself failed.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback

import click

from memdoctor import __version__
from memdoctor.foundation.errors import MemdoctorError

COMMANDS = ("scan", "run", "batch-size", "sweep", "report", "gpus", "rules", "explain")
"""Each is `memdoctor/cli/NAME.py` with a click command called `command`."""

_OUTPUT_LOST = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF}


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
        if sys.stdout is not None:  # None where the caller has closed it
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        tell("memdoctor: interrupted.")
        code = 130
    except MemdoctorError as error:
        tell(f"memdoctor: {error}")
        code = error.exit_code
    except Interrupted:
        sys.excepthook = lambda kind, error, trace: None  # the program's traceback has been shown
        raise KeyboardInterrupt from None
    except Exception as error:
        code = _output_lost(error) if is_about_output(error) else _defect()
    sys.exit(code)


def tell(text: str) -> None:
    """A line of chatter on standard error; where that is full or closed, there is nobody to tell."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def is_about_output(error: Exception) -> bool:
    """True if standard output could not take what was printed: its reader has left, or its disk is full."""
    if isinstance(error, BrokenPipeError):
        return True
    return isinstance(error, OSError) and error.filename is None and error.errno in _OUTPUT_LOST


def give_up_output(error: Exception) -> None:
    """Say what was lost, and send the rest nowhere, or the interpreter complains about it at its end."""
    if not isinstance(error, BrokenPipeError):  # `| head`: what was wanted has been read
        tell(f"memdoctor: standard output could not be written: {getattr(error, 'strerror', error)}.")
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output_lost(error: Exception) -> int:
    give_up_output(error)
    return 0 if isinstance(error, BrokenPipeError) else MemdoctorError.exit_code


def _defect() -> int:
    """Python's own exit code for an exception, 1, would say "findings"."""
    tell(f"{traceback.format_exc()}memdoctor: this is a defect of memdoctor, please report it.")
    return MemdoctorError.exit_code
