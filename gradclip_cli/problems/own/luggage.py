"""What a problem of the user's own needs on another machine: its code, small data, a saved model; packed here, unpacked there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.errors import ConfigError
from gradclip_cli.files import write_atomically
from gradclip_cli.problems.own.identity import references
from gradclip_cli.problems.own.references import absolute
from gradclip_cli.problems.own.sources import sources

LARGEST = 100_000_000
"""Bytes of data up to which they travel; larger ones are looked for at the same path there."""


def packed(config: OwnConfig) -> dict[str, bytes]:
    """The files behind a config by their paths relative to its folder: sources, a saved model, and data that are small.

    Raises ConfigError where a path is absolute, which would mean something else elsewhere, or a file is missing.
    """
    folder = Path(config.folder)
    found: dict[str, bytes] = {}
    for reference in references(config):
        if Path(reference.target).is_absolute():
            raise ConfigError([f"{reference.place}: {reference}: on a cluster, write the path relative to the config"])
        found |= sources(reference, folder)
    for name in filter(None, (config.model.file, config.data.npz)):
        path = absolute(folder / name)
        if not Path(name).is_absolute() and path.stat().st_size <= LARGEST:
            found[name] = path.read_bytes()
    return found


def unpacked(config: OwnConfig, files: Mapping[str, bytes], below: Path) -> OwnConfig:
    """The config with its files in a folder of their own below `below`, the same for the same files."""
    whole = hashlib.sha256()
    for name, content in sorted(files.items()):
        whole.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    levels = max((Path(name).parts.count("..") for name in files), default=0)
    folder = below.joinpath(f"gradclip-own-{whole.hexdigest()[:16]}", *["folder"] * levels)
    for name, content in files.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    if config.data.npz and config.data.npz not in files:
        there = config.data.model_copy(update={"npz": str(Path(config.folder, config.data.npz))})
        return config.model_copy(update={"folder": str(folder), "data": there})
    return config.model_copy(update={"folder": str(folder)})
