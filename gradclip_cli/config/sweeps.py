"""Sweeps: a YAML file with a base config and a grid of keys becomes one config for each cell of the grid.

```yaml
base: {extends: none, data: {holdout: 10000}}     # a config, or the name of one
grid:
  optimizer.learning_rate: [0.01, 0.1, 1]         # any key of a config, with its values
  clipping: [{mode: none}, {mode: clipnorm, threshold: 1}]
seeds: 5                                          # as --seeds takes them
fresh_seeds: 10                                   # further seeds, for the comparison at each row's best; 0 for none
name: mine                                        # the folder of its runs is named after it; else the file's own
```

The values of a `clipping` axis replace the base's rule whole. Where two axes speak of one section, the more special one wins,
whatever their order: `optimizer.name` chooses the optimizer, then `optimizer.learning_rate` sets its rate. `--set` lays further
overrides over the base; they hold in every cell.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gradclip_cli.config import loading
from gradclip_cli.config.experiment_files import SWEEP, find
from gradclip_cli.config.grids import CLIPPING, LEARNING_RATE, REFUSED, Axis, Value, column_axis, read_axes
from gradclip_cli.config.overrides import Override, contradictions, laid_over, read_settings, resets, together
from gradclip_cli.config.schema import ARM_NAME, LONGEST_NAME, Config
from gradclip_cli.config.seeds import MOST_SEEDS, parse_seeds
from gradclip_cli.config.yaml_tree import Place, Tree, shortened
from gradclip_cli.errors import ConfigError
from gradclip_cli.limits import MOST_SEED

KEYS = ("base", "grid", "seeds", "fresh_seeds", "name")
NEEDED = ("base", "grid")
MOST_RUNS = 10_000
FRESH_SEEDS = 10
SEEDS = 5

Read = TypeVar("Read")


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
    """Seeds that the grid is not trained with; none where nothing is held out to choose on, or there is but one row."""
    resets: tuple[str, ...] = ()
    """What another choice in some cell resets of what the base says: a sentence for each key."""

    @property
    def configs(self) -> list[Config]:
        """The config of every cell."""
        return [cell.config for cell in self.cells]

    @property
    def column_axis(self) -> int:
        """The axis of the map's columns."""
        return column_axis(self.axes)

    @property
    def columns(self) -> Axis:
        """The axis of the map's columns. Numbers rise, so that the first and the last are the grid's edges."""
        return self.axes[self.column_axis]

    @property
    def row_axes(self) -> list[Axis]:
        """The other axes, whose values make the rows."""
        return [axis for axis in self.axes if axis is not self.columns]

    def rows(self) -> dict[str, list[Cell]]:
        """The map's rows: by label, the cells that differ in nothing but the column, in its order."""
        columns, found = self.columns, dict[str, list[Cell]]()
        for cell in self.cells:
            chosen = zip(self.axes, cell.places, strict=True)
            labels = [_row_label(axis, axis.values[place]) for axis, place in chosen if axis is not columns]
            found.setdefault(", ".join(labels) or self.name, []).append(cell)
        return found


def _row_label(axis: Axis, value: Value) -> str:
    return value.label if axis.key == CLIPPING else f"{axis.title} {value.label}"


@dataclass(frozen=True)
class _Given:
    """A sweep as its file and the overrides say it, before the grid is expanded."""

    path: Path
    name: str
    base: Tree
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    seeds_place: Place
    fresh_seeds: int
    overrides: Sequence[Override]


def load(name: str, settings: Sequence[str] = (), *, most_runs: int = MOST_RUNS) -> Sweep:
    """Load the sweep that `name` means, with `--set` overrides (`key.path=value`) laid over its base.

    Those that change what is trained become part of the sweep's name. Raises ConfigError with every mistake and its place, or,
    before the grid is expanded, for over `most_runs` runs.
    """
    given = _read(find(name, SWEEP), settings)
    _require_few(given, most_runs)
    base = _base(given.base, given.path)
    full_name = loading.name_with(given.name, base, together(given.overrides))
    if len(full_name) > LONGEST_NAME:
        raise ConfigError(["--set: so many make the sweep's name too long; write them into a sweep's file of its own"])
    cells, sentences = _cells(base, given)
    fresh = _fresh(given) if _comparable(cells, given.axes) else ()
    return Sweep(full_name, given.axes, cells, given.seeds, fresh, sentences)


@dataclass
class _Reader:
    """Reads a sweep's keys one by one; mistakes are gathered, so that all are told at once."""

    given: Mapping[str, Tree]
    mistakes: list[str] = field(default_factory=list)

    def read(self, key: str, read: Callable[[Tree], Read], otherwise: Read) -> Read:
        """What a key says; `otherwise` where it isn't given, or wrong."""
        try:
            return read(self.given[key]) if key in self.given else otherwise
        except ConfigError as error:
            self.mistakes += error.problems
            return otherwise


def _read(path: Path, settings: Sequence[str]) -> _Given:
    tree, problems = loading.read_tree(path)
    if problems:
        raise ConfigError(problems)
    reader = _Reader(tree.value, list(_wrong_keys(tree)))
    name = reader.read("name", _name, path.stem)
    if "name" not in tree.value and (problem := _name_problem(name)):
        reader.mistakes.append(f"{path}: name: {problem}; give the sweep a name")
    seeds = reader.read("seeds", _seeds, tuple(range(SEEDS)))
    fresh = reader.read("fresh_seeds", _fresh_seeds, FRESH_SEEDS)
    axes = reader.read("grid", read_axes, tuple[Axis, ...]())
    overrides, mistakes = read_settings(settings)
    reader.mistakes += mistakes or [problem for override in overrides for problem in _no_place(override, axes)]
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    seeds_place = tree.value.get("seeds", tree).place
    return _Given(path, name, tree.value["base"], axes, seeds, seeds_place, fresh, overrides)


def _wrong_keys(tree: Tree) -> Iterator[str]:
    yield from (_unknown(key, child) for key, child in tree.value.items() if key not in KEYS)
    yield from (f"{tree.place}: missing key '{key}' in the sweep" for key in NEEDED if key not in tree.value)


def _unknown(key: str, child: Tree) -> str:
    near = difflib.get_close_matches(key, KEYS, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; known here: {', '.join(KEYS)}"
    return f"{child.key_place}: unknown key '{shortened(key)}' in the sweep{hint}"


def _no_place(override: Override, axes: Sequence[Axis]) -> list[str]:
    """Why an override of the base can't hold beside the grid."""
    for key, _ in override.leaves:
        if key in REFUSED and key not in ("extends", "data.holdout"):
            return [f"{override.place}: {REFUSED[key]}"]
    for axis in axes:
        if _overlap(override, axis):
            swept = f"the grid, which sweeps over {axis.key} ({axis.values[0].tree.key_place})"
            return [f"{override.place} contradicts {swept}; leave it out, or change the grid"]
    return []


def _overlap(override: Override, axis: Axis) -> bool:
    """Whether an override speaks of what an axis sweeps over."""
    if axis.key == CLIPPING and override.key.partition(".")[0] == CLIPPING:
        return True
    return any(contradictions([override, Override(axis.key, value.tree, value.tree.place)]) for value in axis.values)


def _require_few(given: _Given, most_runs: int) -> None:
    """Refuse a grid of over `most_runs` runs. Raises ConfigError."""
    runs = math.prod(len(axis.values) for axis in given.axes) * len(given.seeds)
    if runs > most_runs:
        hint = "shorten the grid, or give --yes to train them"
        raise ConfigError([f"{given.path}: {runs:,} runs, which is over {most_runs:,}; {hint}"])


def _comparable(cells: Sequence[Cell], axes: Sequence[Axis]) -> bool:
    """Whether rows can be compared at their bests: there are several, and something is held out to choose these on."""
    return len(cells) > len(axes[column_axis(axes)].values) and cells[0].config.data.holdout > 0


def _fresh(given: _Given) -> tuple[int, ...]:
    """Seeds beyond those of the grid. Raises ConfigError where so many are not left."""
    first, count = max(given.seeds) + 1, given.fresh_seeds
    if first + count - 1 > MOST_SEED:
        raise ConfigError([f"{given.seeds_place}: seeds: leave no {count} fresh seeds up to {MOST_SEED:,}"])
    return tuple(range(first, first + count))


def _name(given: Tree) -> str:
    name = given.value if given.value is not None and not isinstance(given.value, list | dict) else ""
    if problem := _name_problem(str(name)):
        raise ConfigError([f"{given.place}: name: {problem}"])
    return str(name)


def _name_problem(name: str) -> str:
    if len(name) > LONGEST_NAME:
        return f"at most {LONGEST_NAME} letters, since it names a folder"
    if re.fullmatch(ARM_NAME, name):
        return ""
    return f"letters, digits and . _ + = , - only, the first a letter or digit, since it names a folder, not {shortened(name)!r}"


def _seeds(given: Tree) -> tuple[int, ...]:
    plain = given.plain()
    # A list's comma tells its only seed from a count.
    text = "".join(f"{part}," for part in plain) if isinstance(plain, list) else str(plain)
    return tuple(parse_seeds(text, f"{given.place}: seeds"))


def _fresh_seeds(given: Tree) -> int:
    count = given.plain()
    if type(count) is not int or count == 1 or not 0 <= count <= MOST_SEEDS:
        expected = f"expected 0 (none) or a number from 2 to {MOST_SEEDS:,}"
        raise ConfigError([f"{given.place}: fresh_seeds: {expected}, not {shortened(repr(count))}"])
    return count


def _base(base: Tree, path: Path) -> Tree:
    """The base config as a complete tree, with its own name. Raises ConfigError."""
    named = isinstance(base.value, str)
    if named:
        base = Tree({"extends": base}, base.place, base.key_place)
    if not isinstance(base.value, dict):
        raise ConfigError([f"{base.place}: base: expected a config's name, or a config's keys"])
    tree, problems = loading.extended(base, path, verb="base is" if named else "extends")
    if problems:
        raise ConfigError(problems)
    return Tree({"name": Tree("base", base.place, base.key_place), **tree.value}, tree.place, tree.key_place)


def _cells(base: Tree, given: _Given) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """A cell for each combination of the axes' values, and what choices reset in them. Raises ConfigError."""
    cells: list[Cell] = []
    problems: dict[str, None] = {}
    sentences: dict[str, None] = {}
    if CLIPPING in [axis.key for axis in given.axes]:  # whose values are whole rules
        base = Tree({key: child for key, child in base.value.items() if key != CLIPPING}, base.place, base.key_place)
    for places in itertools.product(*(range(len(axis.values)) for axis in given.axes)):
        chosen = {axis.key: axis.values[place] for axis, place in zip(given.axes, places, strict=True)}
        overrides = together(
            [*given.overrides, *(Override(key, value.tree, value.tree.key_place) for key, value in chosen.items())]
        )
        try:
            tree = laid_over(base, overrides)
            config = loading.validated(tree)
            loading.require_to_be_trained(config, tree)
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
            continue
        sentences |= dict.fromkeys(resets(base, overrides, config))
        cells.append(Cell(config.model_copy(update={"name": _arm_name(config, chosen)}), places))
    if problems:
        raise ConfigError(list(problems))
    if not_distinct := _not_distinct([cell.config for cell in cells]):
        raise ConfigError([f"{given.path}: {not_distinct}"])
    return tuple(cells), tuple(sentences)


def _not_distinct(cells: Sequence[Config]) -> str | None:
    """What keeps the cells from being arms of their own that can be compared."""
    arms: dict[str, str] = {}
    for config in cells:
        trained = config.with_seed(0).model_dump_json(exclude={"name"})
        if (same := arms.setdefault(trained, config.name)) != config.name:
            return f"{same} and {config.name} are the same config: one key of the grid overrides another"
    for name, times in Counter(config.name for config in cells).items():
        if times > 1:
            return f"{times} cells of the grid are named {name}; leave all but one of them out"
        if len(name) > LONGEST_NAME:
            return f"{shortened(name)} is longer than {LONGEST_NAME} letters; sweep over single keys, such as {LEARNING_RATE}"
    if len({config.data.holdout for config in cells}) > 1:
        return f"data.holdout differs between the cells; {REFUSED['data.holdout']}"
    return None


def _arm_name(config: Config, chosen: Mapping[str, Value]) -> str:
    """Such as clipnorm-1+optimizer.learning_rate=0.1: the rule where it is swept over, then the other keys."""
    parts = [chosen[CLIPPING].label if CLIPPING in chosen else config.name]
    parts += [f"{key}={value.label}" for key, value in chosen.items() if key != CLIPPING]
    return "+".join(re.sub(r"[^A-Za-z0-9._=,+-]+", "-", part).strip("-") for part in parts)
