"""What was trained, in words: what one or several configs say, by subject."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradclip_cli.config.grids import CLIPPING
from gradclip_cli.config.overrides import values, written
from gradclip_cli.config.own import OwnConfig
from gradclip_cli.config.recorded import RecordedConfig
from gradclip_cli.config.schema import Config

SWEPT = "swept"
"""What is said of a key in which the configs differ because a grid says so."""
# What is said in any case. A number is understood by the words of its key, and most names by themselves.
_MAIN = {
    "model": ("cell", "units", "activation", "factory", "file"),
    "data": ("dataset", "subset", "npz", "factory", "batch_size", "holdout"),
    "training": ("epochs", "steps_per_epoch"),
    "optimizer": ("name", "learning_rate"),
}
_CLEAR_BY_THEMSELVES = ("cell", "activation", "dataset", "name", "factory", "file", "npz")


def facts(configs: Sequence[Config], swept: Sequence[str] = ()) -> dict[str, str]:
    """What these configs train, by subject: model, data, training, optimizer, clipping, and what else is unusual.

    `swept` are dotted keys of a grid. Of a script's configs, its command is all that is known in their place.
    """
    together = _Together([dict(values(config.model_dump())) for config in configs], swept)
    first = configs[0]
    if isinstance(first, RecordedConfig):
        found = {"command": " ".join(first.command or ())}
    else:
        found = {subject: together.all_main(f"{subject}.{key}" for key in keys) for subject, keys in _MAIN.items()}
        found["clipping"] = " or ".join(dict.fromkeys(config.clipping.label for config in configs))
    if further := [together.said(key, key) for key in _unusual(configs) if key not in together.swept]:
        found["further"] = ", ".join(further)
    return found


@dataclass(frozen=True)
class _Together:
    """What several configs say, by dotted key, and the keys that are swept over."""

    configs: Sequence[Mapping[str, Any]]
    swept: Sequence[str]

    def all_main(self, keys: Iterable[str]) -> str:
        """What is said of keys in any case, where some config says something with them: a holdout of 0 says nothing."""
        return ", ".join(self.main(key) for key in keys if any(config.get(key) for config in self.configs))

    def main(self, key: str) -> str:
        """What is said of a key in any case."""
        last = key.rpartition(".")[2]
        words = last.replace("_", " ")
        return f"{words} {SWEPT}" if self.is_swept(key) else self.said(key, "" if last in _CLEAR_BY_THEMSELVES else words)

    def said(self, key: str, name: str) -> str:
        """A key's value, or values, with the name that they need to be understood."""
        return f"{name} {SWEPT}" if self.is_swept(key) else f"{name} {' or '.join(self.values_of(key))}".strip()

    def is_swept(self, key: str) -> bool:
        """Whether the configs differ in a key because the grid says so."""
        return key in self.swept or (key.partition(".")[0] in self.swept and len(self.values_of(key)) > 1)

    def values_of(self, key: str) -> list[str]:
        """Each value that some config has."""
        return list(dict.fromkeys(written(config[key]) for config in self.configs if key in config))


def _unusual(configs: Sequence[Config]) -> list[str]:
    """Dotted keys with a value that is not the default in some config, apart from those that are said in any case."""
    found: dict[str, None] = {}
    for config in configs:
        usual = _usual(type(config), config.optimizer.name)
        found |= {key: None for key, value in values(config.model_dump()) if key not in usual or value != usual[key]}
    main = {f"{subject}.{key}" for subject, keys in _MAIN.items() for key in keys} | {"name", "training.seed", "command"}
    return [key for key in found if key not in main and key.partition(".")[0] != CLIPPING]


@functools.cache
def _usual(kind: type[Config], optimizer: str) -> dict[str, Any]:
    """All defaults of a kind of config by dotted key; those of the optimizer are its own."""
    needed: dict[str, Any] = {"model": {"factory": "any:one"}, "data": {"npz": "any.npz"}} if kind is OwnConfig else {}
    return dict(values(kind.model_validate({"name": "usual", "optimizer": {"name": optimizer}, **needed}).model_dump()))
