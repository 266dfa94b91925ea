"""What a problem of the user's own is by its code: the hashes of the sources behind it, which belong to its config."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gradclip_cli.config.own import OWN_SECTIONS, OwnConfig
from gradclip_cli.errors import ConfigError
from gradclip_cli.problems.own.references import Reference, absolute
from gradclip_cli.problems.own.sources import sources_sha256


def identified(config: OwnConfig) -> OwnConfig:
    """The config with the hashes of the code behind its data, model, loss and metrics as it is now; nothing of it is run.

    Raises ConfigError where a file is missing, or where the config names code that is not what is there, and OwnCodeError where
    a file is no Python.
    """
    hashes = {section: _sha256(config, section) for section in OWN_SECTIONS}
    for section, now in hashes.items():
        said = getattr(config, section).source_sha256
        if said is not None and said != now:
            raise ConfigError(
                [f"{section}.source_sha256: the code behind {_named(config, section)} is not what this config names"]
            )
    updated = {name: getattr(config, name).model_copy(update={"source_sha256": now}) for name, now in hashes.items() if now}
    return config.model_copy(update=updated)


def references(config: OwnConfig) -> list[Reference]:
    """All functions of the user's that a config names."""
    given = {
        "data.factory": config.data.factory,
        "model.factory": config.model.factory,
        "loss.factory": config.loss.factory,
    }
    named = [Reference.parse(text, key) for key, text in given.items() if text]
    return [*named, *(Reference.parse(name, "metrics") for name in config.metrics or () if ":" in name)]


def _named(config: OwnConfig, section: str) -> str:
    return getattr(config, section).factory or str(config.model.file)


def _sha256(config: OwnConfig, section: str) -> str | None:
    """The hash of a section's code; that of the loss has the metrics' in it."""
    folder = Path(config.folder)
    if section == "model" and config.model.file:
        return _of_file(absolute(folder / config.model.file))
    places = {"loss": {"loss.factory", "metrics"}}.get(section, {f"{section}.factory"})
    each = [sources_sha256(reference, folder) for reference in references(config) if reference.place in places]
    if len(each) < 2:
        return each[0] if each else None
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


def _of_file(path: Path) -> str:
    if not path.is_file():
        raise ConfigError([f"model.file: {path}: no such file"])
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
