"""Stored configs, thousands at a time: an arm's differ in their seeds only, so each text is parsed once, whatever its seed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gradclip_cli.limits import MOST_SEED

if TYPE_CHECKING:
    from gradclip_cli.config.schema import Config

_SEED = re.compile(rb"(?<![^\n])training:\n(?:  [a-z_]+: [0-9]+\n)*?  seed: (0|[1-9][0-9]{0,9})(?![^\n])")


class Seedless(NamedTuple):
    """A config's text without the number that is its seed."""

    before: bytes
    after: bytes | None
    """None where the text says no seed as gradclip writes it: then `before` is all of it."""


def split_seed(text: bytes) -> tuple[Seedless, int]:
    """A config's text without its seed, and the seed; 0 where it says none as gradclip writes it."""
    match = _SEED.search(text)
    if match is None or int(match[1]) > MOST_SEED or len(_SEED.findall(text)) > 1:
        return Seedless(text, None), 0
    return Seedless(text[: match.start(1)], text[match.end(1) :]), int(match[1])


class StoredConfigs:
    """Parses configs that runs have stored, and knows those that it has parsed."""

    def __init__(self) -> None:
        self._known: dict[Seedless, Config] = {}

    def parse(self, text: bytes, path: Any) -> Config:
        """The config that a text in a file says, as `loading.parse_stored` would. Raises ConfigError."""
        seedless, seed = split_seed(text)
        if seedless in self._known:
            return self.known(seedless, seed, Path(str(path)).parent)
        from gradclip_cli.config.loading import parse_stored

        config = parse_stored(text, path)
        if config.training.seed == seed:
            self._known[seedless] = config
        return config

    def known(self, seedless: Seedless, seed: int, folder: Path) -> Config:
        """The config that such a text says in a folder, with this seed. Raises ConfigError."""
        if seedless not in self._known:
            text = seedless.before + (b"" if seedless.after is None else f"{seed}".encode() + seedless.after)
            return self.parse(text, folder / "config.yaml")
        config = self._known[seedless].with_seed(seed)
        # Relative paths begin in the file's own folder.
        return config.model_copy(update={"folder": str(folder.absolute())}) if getattr(config, "folder", "") else config
