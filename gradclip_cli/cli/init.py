"""The command that writes a small example to begin with: init."""

from __future__ import annotations

from pathlib import Path

import click

from gradclip_cli.cli.options import Command, remark
from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK, FRAMEWORKS


def framework_flags(command: Command) -> Command:
    """Give a command a flag for each framework but the default one."""
    usual = FRAMEWORKS[DEFAULT_FRAMEWORK].title
    for name, framework in FRAMEWORKS.items():
        if name != DEFAULT_FRAMEWORK:
            text = f"A model in {framework.short_title}, in place of {usual}."
            command = click.option(f"--{name}", "framework", flag_value=name, help=text)(command)
    return command


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@framework_flags
def init(folder: Path, framework: str | None) -> None:
    """Write a small example that runs into DIR: a model with its data, a config, and what to do next.

    The files are config.yaml, model.py and README.md. One that is there already is never replaced.
    """
    import shlex

    from gradclip_cli.cli.console import tell
    from gradclip_cli.config.templates import write_example

    for path in write_example(framework or DEFAULT_FRAMEWORK, folder):
        tell(f"wrote {path}")
    remark(f"next: cd {shlex.quote(str(folder))} && gradclip try model.py:build")
