"""Sweeps: a YAML file with a base config and a grid of keys becomes one config for each cell of the grid.

```yaml
base: {extends: none, data: {holdout: 10000}}     # a config, or the name of one
grid:
  optimizer.learning_rate: [0.01, 0.1, 1]         # any key of a config, with its values
  clipping: [{mode: none}, {mode: clipnorm, threshold: 1}]
seeds: 5                                          # as --seeds takes them
fresh_seeds: 10                                   # further seeds, for the comparison at each row's best; 0 for none
```
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradclip_cli import config as configs
from gradclip_cli.errors import ConfigError
from gradclip_cli.schema import Config
from gradclip_cli.yaml_tree import Tree, merge

KEYS = ("base", "grid", "seeds", "fresh_seeds", "name")
MOST_RUNS = 10_000
LEARNING_RATE = "optimizer.learning_rate"
FRESH_SEEDS = 10
SEEDS = 5


@dataclass(frozen=True)
class Axis:
    """One key of the grid, with a label for each of its values."""

    key: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One config of the grid, and which value of each axis it has."""

    config: Config
    places: tuple[int, ...]


@dataclass(frozen=True)
class Sweep:
    """A grid of configs with the seeds to train each with. Cells stand in the grid's order, its last key running fastest."""

    name: str
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    fresh_seeds: tuple[int, ...]
    """Seeds that the grid is not trained with."""

    @property
    def configs(self) -> list[Config]:
        """The config of every cell."""
        return [cell.config for cell in self.cells]

    @property
    def column_axis(self) -> int:
        """The axis whose best value is looked for in each row: the learning rate, else the grid's last key."""
        keys = [axis.key for axis in self.axes]
        return keys.index(LEARNING_RATE) if LEARNING_RATE in keys else len(keys) - 1

    @property
    def columns(self) -> Axis:
        """The axis of the map's columns."""
        return self.axes[self.column_axis]

    def rows(self) -> dict[str, list[Cell]]:
        """The map's rows: by label, the cells that differ in nothing but the column, in its order."""
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            labels = [
                axis.labels[place] if axis.key == "clipping" else f"{axis.key.rpartition('.')[2]} {axis.labels[place]}"
                for index, (axis, place) in enumerate(zip(self.axes, cell.places, strict=True))
                if index != self.column_axis
            ]
            found.setdefault(", ".join(labels) or self.name, []).append(cell)
        return found


def find(name: str) -> Path:
    """The file that `name` means: a path, else a shipped sweep's name. Raises ConfigError."""
    if Path(name).is_file():
        return Path(name)
    if name.removesuffix(".yaml") in configs.shipped_sweeps():
        return configs.shipped_directory() / configs.SWEEPS / f"{name.removesuffix('.yaml')}.yaml"
    near = difflib.get_close_matches(Path(name).stem, configs.shipped_sweeps(), n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise ConfigError([f"{name}: no such sweep{hint} Shipped with gradclip: {', '.join(configs.shipped_sweeps())}"])


def load(name: str, *, most_runs: int = MOST_RUNS) -> Sweep:
    """Load the sweep that `name` means. Raises ConfigError with every mistake and its place, or for over `most_runs` runs."""
    path = find(name)
    tree, problems = configs.read_tree(path)
    given: dict[str, Tree] = tree.value
    problems += [_unknown(key, child) for key, child in given.items() if key not in KEYS]
    problems += [f"{tree.place}: missing key '{key}' in the sweep" for key in ("base", "grid") if key not in given]
    if problems:
        raise ConfigError(problems)
    seeds = _seeds(given)
    axes = _axes(given["grid"])
    count = math.prod(len(values) for values in axes.values()) * len(seeds)
    if count > most_runs:
        raise ConfigError([f"{path}: {count:,} runs, which is over {most_runs:,}; shorten the grid, or give --yes to train them"])
    sweep_name = str(given["name"].plain()) if "name" in given else path.stem
    cells = _cells(_base(given["base"], path, sweep_name), axes)
    first_fresh, fresh = max(seeds) + 1, _fresh_seeds(given)
    labelled = tuple(Axis(key, tuple(_label(key, value) for value in values)) for key, values in axes.items())
    return Sweep(sweep_name, labelled, cells, tuple(seeds), tuple(range(first_fresh, first_fresh + fresh)))


def _unknown(key: str, child: Tree) -> str:
    near = difflib.get_close_matches(key, KEYS, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; known here: {', '.join(KEYS)}"
    return f"{child.key_place}: unknown key '{key}' in the sweep{hint}"


def _axes(grid: Tree) -> dict[str, list[Tree]]:
    if not isinstance(grid.value, dict) or not grid.value:
        raise ConfigError(
            [f"{grid.place}: the grid is empty; give keys with lists of values, such as {LEARNING_RATE}: [0.01, 0.1]"]
        )
    problems = []
    for key, values in grid.value.items():
        if not isinstance(values.value, list) or not values.value:
            problems.append(f"{values.place}: grid.{key}: expected a list of values with at least one, such as [0.01, 0.1]")
        elif len({repr(value.plain()) for value in values.value}) < len(values.value):
            problems.append(f"{values.place}: grid.{key}: holds a value twice")
        if key.partition(".")[0] == "name" or key == "training.seed":
            problems.append(f"{values.key_place}: grid.{key} can't be swept over; " + _INSTEAD[key == "training.seed"])
    if problems:
        raise ConfigError(problems)
    return {
        key: [Tree(value.value, value.place, values.key_place) for value in values.value] for key, values in grid.value.items()
    }


_INSTEAD = ("the arms' names are made from the grid", "seeds stand in `seeds`")


def _seeds(given: dict[str, Tree]) -> list[int]:
    plain = given["seeds"].plain() if "seeds" in given else SEEDS
    try:
        return configs.parse_seeds(",".join(map(str, plain)) if isinstance(plain, list) else str(plain))
    except ConfigError as error:
        raise ConfigError([f"{given['seeds'].place}: {problem.removeprefix('--')}" for problem in error.problems]) from None


def _fresh_seeds(given: dict[str, Tree]) -> int:
    if "fresh_seeds" not in given:
        return FRESH_SEEDS
    count = given["fresh_seeds"].plain()
    if type(count) is not int or count < 0 or count == 1:
        raise ConfigError([f"{given['fresh_seeds'].place}: fresh_seeds: expected 0 (none) or a number from 2, not {count!r}"])
    return count


def _base(base: Tree, path: Path, name: str) -> Tree:
    """The base config as a complete tree. Raises ConfigError."""
    if isinstance(base.value, str):
        base = Tree({"extends": base}, base.place, base.key_place)
    if not isinstance(base.value, dict):
        raise ConfigError([f"{base.place}: base: expected a config's name, or a config's keys"])
    tree, problems = configs.extended(base, path)
    if problems:
        raise ConfigError(problems)
    return merge(tree, Tree({"name": Tree(name, base.place, base.key_place)}, base.place, base.key_place))


def _cells(base: Tree, axes: dict[str, list[Tree]]) -> tuple[Cell, ...]:
    cells, problems = [], []
    for places in itertools.product(*(range(len(values)) for values in axes.values())):
        chosen = {key: values[place] for (key, values), place in zip(axes.items(), places, strict=True)}
        try:
            config = configs.validated(_with(base, chosen))
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem not in problems]
            continue
        cells.append(Cell(config.model_copy(update={"name": _arm_name(config, chosen)}), places))
    names = [cell.config.name for cell in cells]
    problems += [f"two cells of the grid are both named {name}" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        raise ConfigError(problems)
    return tuple(cells)


def _with(base: Tree, chosen: dict[str, Tree]) -> Tree:
    """Lay a cell's values over the base; `clipping` replaces it whole."""
    for key, value in chosen.items():
        leaf = value
        for part in reversed(key.split(".")):
            leaf = Tree({part: Tree(leaf.value, leaf.place, value.key_place)}, value.place, value.key_place)
        if key == "clipping":
            base = Tree({name: child for name, child in base.value.items() if name != key}, base.place, base.key_place)
        base = merge(base, leaf, configs.CHOICES)
    return base


def _arm_name(config: Config, chosen: dict[str, Tree]) -> str:
    """Such as clipnorm-1+optimizer.learning_rate=0.1: the rule where it is swept over, then the other keys."""
    parts = [config.clipping.label if "clipping" in chosen else config.name]
    parts += [f"{key}={_label(key, value)}" for key, value in chosen.items() if key != "clipping"]
    return "+".join(re.sub(r"[^A-Za-z0-9._=,]+", "-", part).strip("-") for part in parts)


def _label(key: str, value: Tree) -> str:
    plain = value.plain()
    if isinstance(plain, dict):
        return (
            _rule_label(plain)
            if key == "clipping"
            else ", ".join(f"{name} {_plain_label(child)}" for name, child in plain.items())
        )
    return _plain_label(plain)


def _rule_label(plain: dict[str, Any]) -> str:
    return Config.model_validate({"name": "any", "clipping": plain}).clipping.label


def _plain_label(plain: Any) -> str:
    return f"{plain:g}" if isinstance(plain, float) else configs.told_in_name(plain)
