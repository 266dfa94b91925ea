"""The command that writes a small example to begin with: init."""

from __future__ import annotations

from pathlib import Path

import click

from gradclip_cli.cli.options import remark
from gradclip_cli.config.frameworks import DEFAULT_FRAMEWORK


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--pytorch", is_flag=True, help="A PyTorch module in place of a Keras model.")
def init(folder: Path, pytorch: bool) -> None:
    """Write a small example that runs into DIR: a model with its data, a config, and what to do next.

    The files are config.yaml, model.py and README.md. One that is there already is never replaced.
    """
    import shlex

    from gradclip_cli.cli.console import tell
    from gradclip_cli.config.templates import write_example

    for path in write_example("pytorch" if pytorch else DEFAULT_FRAMEWORK, folder):
        tell(f"wrote {path}")
    remark(f"next: cd {shlex.quote(str(folder))} && gradclip try model.py:build")
