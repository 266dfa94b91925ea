"""Which file a sweep or study is that somebody names: one of his, else a shipped one."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple

from gradclip_cli.config import loading
from gradclip_cli.config.schema import LONGEST_NAME
from gradclip_cli.config.yaml_tree import shortened
from gradclip_cli.errors import ConfigError


class Kind(NamedTuple):
    """A kind of experiment: its name, the folder of the shipped ones, and what a config can be in one."""

    name: str
    folder: str
    part: str


SWEEP = Kind("sweep", loading.SWEEPS, "base")
STUDY = Kind("study", loading.STUDIES, "arm")


def find(name: str, kind: Kind) -> Path:
    """The file that `name` means: a path, else a shipped one's name. Raises ConfigError."""
    path, shipped = Path(name), loading.shipped_in(kind.folder)
    if loading.is_file(path):
        return path
    if name.removesuffix(".yaml") in shipped:
        return loading.shipped_directory() / kind.folder / f"{name.removesuffix('.yaml')}.yaml"
    if loading.exists(path):
        return path  # a folder or a pipe, which reading tells
    if loading.find(name):
        instead = f"train it with gradclip run {name}, or name it as a {kind.name}'s {kind.part}"
        raise ConfigError([f"{name} is a config, not a {kind.name}: {instead}"])
    beside = {file.stem: str(file) for file in path.parent.glob("*.y*ml")} if loading.exists(path.parent) else {}
    known = beside | {each: each for each in shipped}
    near = difflib.get_close_matches(path.stem[:LONGEST_NAME], known, n=1)
    hint = f"; did you mean '{known[near[0]]}'?" if near else "."
    raise ConfigError([f"{shortened(name)}: no such {kind.name}{hint} Shipped with gradclip: {', '.join(shipped)}"])
