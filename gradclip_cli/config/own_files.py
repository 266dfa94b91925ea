"""Where the files of a problem of the user's own are: paths are relative to the file that says them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradclip_cli.config.mistakes import place_of
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.yaml_tree import Tree
from gradclip_cli.errors import ConfigError

NAMING_FILES: Mapping[str, tuple[str, ...]] = {"data": ("npz", "factory"), "model": ("factory", "file"), "loss": ("factory",)}
"""The keys, by section, that name a file."""


def placed(config: OwnConfig, tree: Tree) -> OwnConfig:
    """A config that knows where its relative paths begin: at the file that names the model. Raises ConfigError.

    What another file says is written anew, relative to there.
    """
    _require_no_folder(tree)
    folder = _folder(tree, f"model.{'factory' if config.model.factory else 'file'}")
    moved: dict[str, Any] = {"folder": str(folder)}
    for section, keys in NAMING_FILES.items():
        values = {key: getattr(getattr(config, section), key) for key in keys}
        there = {key: _moved(value, _folder(tree, f"{section}.{key}"), folder) for key, value in values.items() if value}
        moved[section] = getattr(config, section).model_copy(update=there)
    if config.metrics:
        said = _folder(tree, "metrics")
        moved["metrics"] = [_moved(name, said, folder) if ":" in name else name for name in config.metrics]
    return config.model_copy(update=moved)


def started_beside(config: RecordedConfig, tree: Tree) -> RecordedConfig:
    """A config that knows where its command is started: in the folder of the file that says it. Raises ConfigError."""
    _require_no_folder(tree)
    return config.model_copy(update={"folder": str(_folder(tree, "command"))}) if config.command else config


def _require_no_folder(tree: Tree) -> None:
    if "folder" in tree.value:
        raise ConfigError([f"{tree.value['folder'].key_place}: unknown key 'folder' in the config"])


def moved(config: OwnConfig, folder: Path) -> OwnConfig:
    """The same config with its paths as they are written in another folder."""
    here, there = Path(config.folder), folder.absolute()
    updates: dict[str, Any] = {"folder": str(there)}
    for section, keys in NAMING_FILES.items():
        values = {key: value for key in keys if (value := getattr(getattr(config, section), key))}
        written = {key: _moved(value, here, there) for key, value in values.items()}
        updates[section] = getattr(config, section).model_copy(update=written)
    if config.metrics:
        updates["metrics"] = [_moved(name, here, there) if ":" in name else name for name in config.metrics]
    return config.model_copy(update=updates)


def _folder(tree: Tree, key: str) -> Path:
    place = place_of(tree, key)
    return (Path(place.source).parent if place.line else Path()).absolute()


def _moved(reference: str, said_in: Path, folder: Path) -> str:
    """A path, or FILE.py:function, that was said in one folder, as it is written in another."""
    path, colon, function = reference.partition(":")
    is_module = colon and not path.endswith(".py")
    if said_in == folder or is_module or Path(path).is_absolute():
        return reference
    return f"{os.path.relpath(said_in / path, folder)}{colon}{function}"
