"""Commands on what training takes: data, schema."""

from __future__ import annotations

from pathlib import Path

import click

from gradclip_cli.cli.options import data_directory_option, json_option, print_json
from gradclip_cli.config.datasets import DATASETS, DEFAULT_DATASET


@click.command()
@click.argument("dataset", type=click.Choice(list(DATASETS)), default=DEFAULT_DATASET)
@data_directory_option
@click.option("--fetch", is_flag=True, help="Fetch the dataset if it is not on this machine.")
@json_option
def data(dataset: str, data_dir: Path | None, fetch: bool, as_json: bool) -> None:
    """Say where a dataset is, which source it came from, and that its checksums are right; the article's where none is named."""
    from gradclip_cli.cli.console import tell
    from gradclip_cli.cli.displays import DownloadDisplay
    from gradclip_cli.problems import idx_files

    source, originals = idx_files.locate(dataset, data_dir, fetch=fetch, progress=DownloadDisplay()), DATASETS[dataset].full.files
    if as_json:
        files = {name: {"bytes": original.size, "sha256": original.sha256} for name, original in originals.items()}
        print_json({"path": str(source.folder), "source": source.kind, "verified": True, "files": files})
        return
    tell(f"{source.folder}\nsource: {source.kind}\nverified: all {len(originals)} files have the original's SHA-256")


@click.command()
def schema() -> None:
    """Print the JSON Schema of configs, for editors."""
    import json

    from gradclip_cli.config import loading

    click.echo(json.dumps(loading.json_schema(), indent=2))
