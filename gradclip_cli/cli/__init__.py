"""The command line: declares commands and options; a command loads, makes one call, prints."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from gradclip_cli import __version__
from gradclip_cli.cli import streams
from gradclip_cli.cli.options import general_options, print_json
from gradclip_cli.errors import ConfigError, ExitCode, GradclipError

COMMANDS = {
    "init": "init:init",
    "try": "trial:try_",
    "run": "train:run",
    "check": "check:check",
    "suggest": "pilot:suggest",
    "sweep": "experiments:sweep",
    "study": "experiments:study",
    "reproduce": "experiments:reproduce",
    "compare": "comparisons:compare",
    "report": "report:report",
    "show": "stored:show",
    "list": "stored:list_runs",
    "export": "export:export",
    "rm": "stored:rm",
    "pack": "packed:pack",
    "unpack": "packed:unpack",
    "data": "inputs:data",
    "schema": "inputs:schema",
}
"""The commands, each with the module of this room that has it and its name there; only what is called is imported."""


class _Group(click.Group):
    """Turns all that can end a command into a message, an exit code and, with --json, an object on stdout."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the alphabet."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; it takes the general options too. None where there is no such command."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            module, attribute = COMMANDS[cmd_name].split(":")
            command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
            known = {parameter.name for parameter in command.params}
            command.params += [option for option in general_options(in_command=True) if option.name not in known]
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def main(  # type: ignore[override]  # click's own are overloads
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *, standalone_mode: bool = True, **named: Any
    ) -> Any:
        """Run a command. In click's standalone mode, ends the process with the command's exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **named)
        streams.secure()
        stdout = sys.stdout
        given = list(sys.argv[1:] if args is None else args)
        lost: OSError | None = None
        try:
            code = super().main(args, prog_name, standalone_mode=False, **named)
            code = code if isinstance(code, int) else ExitCode.DONE
        except SystemExit as ended:  # click's own: a completion was printed; or a reader has gone, and it replaced the stream
            code = ended.code if isinstance(ended.code, int) else ExitCode.FAILED
            lost = None if sys.stdout is stdout else BrokenPipeError(errno.EPIPE, "")
            sys.stdout = stdout
        except OSError as error:
            lost = error if streams.may_be_standard(error) else None
            code = ExitCode.DONE if lost else _say_error(error, given)
        except BaseException as error:
            code = _say_error(error, given)
        lost = streams.trouble(stdout) or lost
        streams.trouble(sys.stderr)
        sys.exit(_code_of(lost, code) if lost else code)


def _say_error(error: BaseException, given: Sequence[str]) -> int:
    """Say what ended a command, and return its exit code."""
    before_dashes = given[: given.index("--")] if "--" in given else given
    kind, message, code = _explained(error, given)
    if "--debug" in before_dashes and not isinstance(error, click.ClickException):
        import traceback

        traceback.print_exception(error)
    _print_error(error, kind, message)
    if "--json" in before_dashes:
        content: dict[str, Any] = {"kind": kind, "message": message, "exit_code": code}
        if isinstance(error, ConfigError):
            content["problems"] = list(error.problems)
        print_json({**getattr(error, "facts", {}), "error": content})
    return code


_INTERRUPTED = "interrupted", "Interrupted.", ExitCode.INTERRUPTED


def _explained(error: BaseException, given: Sequence[str]) -> tuple[str, str, int]:
    """The kind of an error, its message and the exit code."""
    if isinstance(error, GradclipError):
        return error.kind, str(error), error.exit_code
    if isinstance(error, click.Abort):
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        return _INTERRUPTED if interrupted else ("refused", "Nothing was changed.", ExitCode.FAILED)
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    if isinstance(error, click.ClickException):
        return "usage", f"{error.format_message()}{_hint(error, given)}", error.exit_code
    return "fault", f"{type(error).__name__}: {error}", ExitCode.FAILED


def _hint(error: click.ClickException, given: Sequence[str]) -> str:
    from gradclip_cli.cli.hints import hint

    return hint(error, given) if isinstance(error, click.NoSuchOption) else ""


def _print_error(error: BaseException, kind: str, message: str) -> None:
    from gradclip_cli.cli.console import note, tell_error

    if isinstance(error, click.UsageError) and error.ctx:
        note(error.ctx.get_usage())
        note(f"Try '{error.ctx.command_path} --help' for help.\n")
    if kind == "interrupted" and not isinstance(error, GradclipError):
        note(message)
    elif kind == "fault":
        tell_error(f"{message}\nThis is a fault in gradclip; --debug shows where.")
    else:
        tell_error(message)


def _code_of(lost: OSError, code: int) -> int:
    """The exit code where results did not arrive, which is said unless it is the reader that has gone."""
    if isinstance(lost, BrokenPipeError):
        return ExitCode.DESERTED
    from gradclip_cli.cli.console import tell_error

    tell_error(f"stdout: can't be written ({lost.strerror}); what was stored is kept, and can be shown again")
    return code or ExitCode.FAILED


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gradclip")
def main(quiet: bool, verbose: bool, debug: bool) -> None:
    """Does gradient clipping help here? Train with and without it, and compare.

    \b
    gradclip try model.py:build         your own model: from its file to a verdict
    gradclip run none clipvalue         train the article's model without and with clipping
    gradclip compare none clipvalue     put the runs side by side, in a table and a picture
    """


main.params += general_options()
