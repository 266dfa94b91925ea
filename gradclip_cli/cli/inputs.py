"""Commands on what training takes: data, schema."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gradclip_cli.cli.options import data_directory_option, json_option, print_json


@click.command()
@data_directory_option
@click.option("--fetch", is_flag=True, help="Fetch the dataset if it is not on this machine.")
@json_option
def data(data_dir: Path | None, fetch: bool, as_json: bool) -> None:
    """Say where Fashion-MNIST is, which source it came from, and that its checksums are right."""
    from gradclip_cli.cli.console import tell
    from gradclip_cli.cli.displays import DownloadDisplay
    from gradclip_cli.problems import fashion_mnist

    source = fashion_mnist.locate(data_dir, fetch=fetch, progress=DownloadDisplay())
    if as_json:
        files = {name: {"bytes": size, "sha256": checksum} for name, (size, checksum) in fashion_mnist.FILES.items()}
        print_json({"path": str(source.folder), "source": source.kind, "verified": True, "files": files})
        return
    tell(f"{source.folder}\nsource: {source.kind}\nverified: all {len(fashion_mnist.FILES)} files have the original's SHA-256")


@click.command()
def schema() -> None:
    """Print the JSON Schema of configs, for editors."""
    from gradclip_cli.config import loading

    click.echo(json.dumps(loading.json_schema(), indent=2))
