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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gradclip_cli.config import loading
from gradclip_cli.config.overrides import Override, contradictions, laid_over, read_settings, resets, together, written
from gradclip_cli.config.schema import ARM_NAME, LONGEST_NAME, MOST_SEED, Config
from gradclip_cli.config.yaml_tree import Tree, shortened
from gradclip_cli.errors import ConfigError

KEYS = ("base", "grid", "seeds", "fresh_seeds", "name")
MOST_RUNS = 10_000
LEARNING_RATE = "optimizer.learning_rate"
CLIPPING = "clipping"
FRESH_SEEDS = 10
SEEDS = 5
REFUSED = {
    "name": "the arms' names are made from the grid and the base's name",
    "extends": "put it into the base",
    "training.seed": "seeds stand in `seeds`",
    "data.holdout": "put it into the base: cells are only comparable on the same images",
}
"""Keys that no grid may hold, with what to do instead."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Axis:
    """One key of the grid, with a label for each of its values; `numeric` where all of them are numbers."""

    key: str
    labels: tuple[str, ...]
    numeric: bool = False

    @property
    def told(self) -> str:
        """The key in words, such as `learning rate`, or `optimizer` for `optimizer.name`."""
        section, _, last = self.key.rpartition(".")
        return (section if last == "name" else last).replace("_", " ")


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
        """The axis whose best value is looked for in each row: the learning rate, else the grid's last key but clipping."""
        return _column_axis([axis.key for axis in self.axes])

    @property
    def columns(self) -> Axis:
        """The axis of the map's columns. Numbers rise, so that the first and the last are the grid's edges."""
        return self.axes[self.column_axis]

    def rows(self) -> dict[str, list[Cell]]:
        """The map's rows: by label, the cells that differ in nothing but the column, in its order."""
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            labels = [
                axis.labels[place] if axis.key == CLIPPING else f"{axis.told} {axis.labels[place]}"
                for index, (axis, place) in enumerate(zip(self.axes, cell.places, strict=True))
                if index != self.column_axis
            ]
            found.setdefault(", ".join(labels) or self.name, []).append(cell)
        return found


@dataclass(frozen=True)
class _Value:
    """One value of an axis, with its place in the file."""

    tree: Tree
    label: str


def _column_axis(keys: Sequence[str]) -> int:
    if LEARNING_RATE in keys:
        return keys.index(LEARNING_RATE)
    return max((index for index, key in enumerate(keys) if key != CLIPPING), default=len(keys) - 1)


def find(name: str) -> Path:
    """The file that `name` means: a path, else a shipped sweep's name. Raises ConfigError."""
    path = Path(name)
    if loading.is_file(path):
        return path
    if name.removesuffix(".yaml") in loading.shipped_sweeps():
        return loading.shipped_directory() / loading.SWEEPS / f"{name.removesuffix('.yaml')}.yaml"
    if loading.exists(path):
        return path  # a folder or a pipe, which reading tells
    if loading.find(name):
        raise ConfigError([f"{name} is a config, not a sweep: train it with gradclip run {name}, or name it as a sweep's base"])
    beside = {file.stem: str(file) for file in path.parent.glob("*.yaml")} if loading.exists(path.parent) else {}
    known = beside | {shipped: shipped for shipped in loading.shipped_sweeps()}
    near = difflib.get_close_matches(path.stem[:LONGEST_NAME], known, n=1)
    hint = f"; did you mean '{known[near[0]]}'?" if near else "."
    raise ConfigError([f"{shortened(name)}: no such sweep{hint} Shipped with gradclip: {', '.join(loading.shipped_sweeps())}"])


def load(name: str, settings: Sequence[str] = (), *, most_runs: int = MOST_RUNS) -> Sweep:
    """Load the sweep that `name` means, with `--set` overrides (`key.path=value`) laid over its base.

    Those that change what is trained become part of the sweep's name. Raises ConfigError with every mistake and its place, or,
    before the grid is expanded, for over `most_runs` runs.
    """
    path = find(name)
    tree, problems = loading.read_tree(path)
    if problems:
        raise ConfigError(problems)
    given: dict[str, Tree] = tree.value
    problems += [_unknown(key, child) for key, child in given.items() if key not in KEYS]
    problems += [f"{tree.place}: missing key '{key}' in the sweep" for key in ("base", "grid") if key not in given]

    def part(key: str, read: Callable[[Tree], Read], otherwise: Read) -> Read:
        """Read one of the sweep's keys; a mistake there is told with the others."""
        try:
            return read(given[key]) if key in given else otherwise
        except ConfigError as error:
            problems.extend(error.problems)
            return otherwise

    sweep_name = part("name", _name, path.stem)
    if "name" not in given and _name_problem(sweep_name):
        problems.append(f"{path}: name: {_name_problem(sweep_name)}; give the sweep a name")
    seeds = part("seeds", _seeds, list(range(SEEDS)))
    fresh = part("fresh_seeds", _fresh_seeds, FRESH_SEEDS)
    no_axes: dict[str, list[_Value]] = {}
    axes = part("grid", _axes, no_axes)
    overrides, mistakes = read_settings(settings)
    problems += mistakes or [problem for override in overrides for problem in _no_place(override, axes)]
    if problems:
        raise ConfigError(problems)
    _require_few(path, axes, len(seeds), most_runs)
    base = _base(given["base"], path)
    sweep_name = loading.name_with(sweep_name, base, together(overrides))
    if len(sweep_name) > LONGEST_NAME:
        raise ConfigError(["--set: so many make the sweep's name too long; write them into a sweep's file of its own"])
    cells, sentences = _cells(base, axes, overrides, path)
    if not _comparable(cells, axes):
        fresh = 0
    if (last := max(seeds) + fresh) > MOST_SEED:
        raise ConfigError([f"{given['seeds'].place}: seeds: leave no {fresh} fresh seeds up to {MOST_SEED:,}"])
    labelled = tuple(_labelled(key, values) for key, values in axes.items())
    return Sweep(sweep_name, labelled, cells, tuple(seeds), tuple(range(max(seeds) + 1, last + 1)), sentences)


def _no_place(override: Override, axes: Mapping[str, Sequence[_Value]]) -> list[str]:
    """Why an override of the base can't hold beside the grid."""
    for key, _ in override.leaves:
        if key in REFUSED and key not in ("extends", "data.holdout"):
            return [f"{override.place}: {REFUSED[key]}"]
    for axis, values in axes.items():
        whole = axis == CLIPPING and override.key.partition(".")[0] == CLIPPING
        if whole or any(contradictions([override, Override(axis, value.tree, value.tree.place)]) for value in values):
            place = values[0].tree.key_place
            return [
                f"{override.place} contradicts the grid, which sweeps over {axis} ({place}); leave it out, or change the grid"
            ]
    return []


def _unknown(key: str, child: Tree) -> str:
    near = difflib.get_close_matches(key, KEYS, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; known here: {', '.join(KEYS)}"
    return f"{child.key_place}: unknown key '{shortened(key)}' in the sweep{hint}"


def _require_few(path: Path, axes: Mapping[str, Sequence[_Value]], seeds: int, most_runs: int) -> None:
    """Refuse a grid of over `most_runs` runs. Raises ConfigError."""
    runs = math.prod(len(values) for values in axes.values()) * seeds
    if runs > most_runs:
        raise ConfigError([f"{path}: {runs:,} runs, which is over {most_runs:,}; shorten the grid, or give --yes to train them"])


def _comparable(cells: Sequence[Cell], axes: Mapping[str, Sequence[_Value]]) -> bool:
    """Whether rows can be compared at their bests: there are several, and something is held out to choose these on."""
    columns = len(list(axes.values())[_column_axis(list(axes))])
    return len(cells) > columns and cells[0].config.data.holdout > 0


def _labelled(key: str, values: Sequence[_Value]) -> Axis:
    return Axis(key, tuple(value.label for value in values), all(_is_number(value.tree.value) for value in values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _axes(grid: Tree) -> dict[str, list[_Value]]:
    if not isinstance(grid.value, dict) or not grid.value:
        raise ConfigError(
            [f"{grid.place}: the grid is empty; give keys with lists of values, such as {LEARNING_RATE}: [0.01, 0.1]"]
        )
    problems = [
        f"{values.key_place}: grid.{key} can't be swept over; {REFUSED[refused]}"
        for key, values in grid.value.items()
        for refused in REFUSED
        if key == refused or key.startswith(f"{refused}.")
    ]
    axes = {}
    for key, values in grid.value.items():
        if isinstance(values.value, list) and values.value:
            axes[key] = [_Value(_placed(key, value, values), _label(key, value)) for value in values.value]
            problems += _repeated(key, axes[key]) + _no_rules(key, axes[key])
        else:
            problems.append(f"{values.place}: grid.{key}: {_no_list(key, values)}")
    if problems:
        raise ConfigError(problems)
    column = list(axes)[_column_axis(list(axes))]
    if _labelled(column, axes[column]).numeric:
        axes[column].sort(key=lambda value: value.tree.value)
    return axes


def _placed(key: str, value: Tree, values: Tree) -> Tree:
    """A value with the place where a mistake in it is told: a whole section's own, else its axis's."""
    whole = key in Config.model_fields and isinstance(value.value, dict)
    return Tree(value.value, value.place, value.place if whole else values.key_place)


def _no_rules(key: str, values: Sequence[_Value]) -> list[str]:
    return [
        f"{value.tree.place}: grid.clipping: expected whole rules, such as {{mode: clipnorm, threshold: 1}}, not {value.label}"
        for value in values
        if key == CLIPPING and not isinstance(value.tree.value, dict)
    ]


def _no_list(key: str, values: Tree) -> str:
    if isinstance(values.value, dict) and values.value:
        return f"expected a list of values; write {key}.{next(iter(values.value))}: [...] for one of its keys"
    return "expected a list of values with at least one, such as [0.01, 0.1]"


def _repeated(key: str, values: Sequence[_Value]) -> list[str]:
    first: dict[str, _Value] = {}
    return [
        f"{value.tree.place}: grid.{key}: holds {value.label} twice (first at {first[value.label].tree.place})"
        for value in values
        if first.setdefault(value.label, value) is not value
    ]


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


def _seeds(given: Tree) -> list[int]:
    plain = given.plain()
    # A list's comma tells its only seed from a count.
    text = "".join(f"{part}," for part in plain) if isinstance(plain, list) else str(plain)
    try:
        return loading.parse_seeds(text)
    except ConfigError as error:
        raise ConfigError([f"{given.place}: {problem.removeprefix('--')}" for problem in error.problems]) from None


def _fresh_seeds(given: Tree) -> int:
    count = given.plain()
    if type(count) is not int or count == 1 or not 0 <= count <= loading.MOST_SEEDS:
        expected = f"expected 0 (none) or a number from 2 to {loading.MOST_SEEDS:,}"
        raise ConfigError([f"{given.place}: fresh_seeds: {expected}, not {shortened(repr(count))}"])
    return count


def _base(base: Tree, path: Path) -> Tree:
    """The base config as a complete tree, with its own name. Raises ConfigError."""
    named = isinstance(base.value, str)
    if named:
        base = Tree({"extends": base}, base.place, base.key_place)
    if not isinstance(base.value, dict):
        raise ConfigError([f"{base.place}: base: expected a config's name, or a config's keys"])
    tree, problems = loading.extended(base, path)
    if problems:
        told = f"{base.place}: "
        raise ConfigError([problem.replace(f"{told}extends '", f"{told}base is '") if named else problem for problem in problems])
    return Tree({"name": Tree("base", base.place, base.key_place), **tree.value}, tree.place, tree.key_place)


def _cells(
    base: Tree, axes: Mapping[str, Sequence[_Value]], settings: Sequence[Override], path: Path
) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """A cell for each combination of the axes' values, and what choices reset in them."""
    cells: list[Cell] = []
    problems: dict[str, None] = {}
    sentences: dict[str, None] = {}
    if CLIPPING in axes:  # whose values are whole rules
        base = Tree({key: child for key, child in base.value.items() if key != CLIPPING}, base.place, base.key_place)
    for places in itertools.product(*(range(len(values)) for values in axes.values())):
        chosen = {key: values[place] for (key, values), place in zip(axes.items(), places, strict=True)}
        try:
            axis_values = [Override(key, value.tree, value.tree.key_place) for key, value in chosen.items()]
            overrides = together([*settings, *axis_values])
            config = loading.validated(laid_over(base, overrides))
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
            continue
        sentences |= dict.fromkeys(resets(base, overrides, config))
        cells.append(Cell(config.model_copy(update={"name": _arm_name(config, chosen)}), places))
    if problems:
        raise ConfigError(list(problems))
    if told := _not_distinct([cell.config for cell in cells]):
        raise ConfigError([f"{path}: {problem}" for problem in told])
    return tuple(cells), tuple(sentences)


def _not_distinct(cells: Sequence[Config]) -> list[str]:
    """What keeps the cells from being arms of their own that can be compared."""
    arms: dict[str, str] = {}
    for config in cells:
        trained = config.with_seed(0).model_dump_json(exclude={"name"})
        if (same := arms.setdefault(trained, config.name)) != config.name:
            return [f"{same} and {config.name} are the same config: one key of the grid overrides another"]
    for name, times in Counter(config.name for config in cells).items():
        if times > 1:
            return [f"{times} cells of the grid are named {name}; leave all but one of them out"]
        if len(name) > LONGEST_NAME:
            return [f"{shortened(name)} is longer than {LONGEST_NAME} letters; sweep over single keys, such as {LEARNING_RATE}"]
    if len({config.data.holdout for config in cells}) > 1:
        return [f"data.holdout differs between the cells; {REFUSED['data.holdout']}"]
    return []


def _arm_name(config: Config, chosen: Mapping[str, _Value]) -> str:
    """Such as clipnorm-1+optimizer.learning_rate=0.1: the rule where it is swept over, then the other keys."""
    parts = [chosen[CLIPPING].label if CLIPPING in chosen else config.name]
    parts += [f"{key}={value.label}" for key, value in chosen.items() if key != CLIPPING]
    return "+".join(re.sub(r"[^A-Za-z0-9._=,+-]+", "-", part).strip("-") for part in parts)


def _label(key: str, value: Tree) -> str:
    plain = value.plain()
    if not isinstance(plain, dict):
        return _plain_label(plain)
    if key == CLIPPING:
        return _rule_label(plain)
    return ", ".join(f"{name} {_plain_label(child)}" for name, child in plain.items())


def _rule_label(plain: dict[str, Any]) -> str:
    try:
        return Config.model_validate({"name": "any", CLIPPING: plain}).clipping.full_label
    except ValidationError:
        return str(plain)  # What is wrong with it is told when the cells are made.


def _plain_label(plain: Any) -> str:
    if isinstance(plain, float):
        short = f"{plain:g}"
        return short if float(short) == plain else repr(plain)
    if isinstance(plain, list):
        return ",".join(map(_plain_label, plain))
    return written(plain) if plain is None or isinstance(plain, bool | int | str) else str(plain)
