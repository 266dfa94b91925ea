"""The command line: declares commands and options; a command loads, makes one call, prints."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import click

from gradclip_cli import __version__
from gradclip_cli.cli.inputs import data, schema
from gradclip_cli.cli.options import INTERRUPTED
from gradclip_cli.cli.stored import compare, list_runs, rm, show
from gradclip_cli.cli.train import reproduce, run, suggest, sweep
from gradclip_cli.errors import GradclipError


class _Group(click.Group):
    """Turns gradclip's errors into messages and exit codes."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GradclipError as error:
            _print_traceback(context)
            _print_error(str(error))
            raise click.exceptions.Exit(error.exit_code) from None
        except click.Abort:
            click.echo("Not confirmed: nothing was changed.", err=True)
            raise click.exceptions.Exit(1) from None
        except KeyboardInterrupt:
            _print_traceback(context)
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            sys.stderr.close()  # The reader has gone, as `| head` does; nothing is wrong.
            raise click.exceptions.Exit(0) from None
        except Exception as error:
            if not _print_traceback(context):
                hint = "This is a fault in gradclip; --debug shows where (gradclip --debug COMMAND ...)."
                _print_error(f"{type(error).__name__}: {error}\n{hint}")
            raise click.exceptions.Exit(1) from None


def _print_traceback(context: click.Context) -> bool:
    debug = bool(context.params.get("debug"))
    if debug:
        traceback.print_exc()
    return debug


def _print_error(told: str) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {told}", err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gradclip")
@click.option("-q", "--quiet", is_flag=True, help="No progress; warnings and errors only.")
@click.option("-v", "--verbose", is_flag=True, help="A line an epoch in a terminal too.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(quiet: bool, verbose: bool, debug: bool) -> None:
    """Does gradient clipping help here? Train with and without it, and compare.

    \b
    gradclip run none clipvalue         train the article's model without and with clipping
    gradclip compare none clipvalue     put the runs side by side, in a table and a picture
    """


for command in (run, suggest, sweep, reproduce, compare, show, list_runs, rm, data, schema):
    main.add_command(command)
