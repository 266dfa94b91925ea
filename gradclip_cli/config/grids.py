"""A sweep's grid: keys of a config, each an axis with its values, and how values and rules are called in short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from gradclip_cli.config.article import ArticleConfig
from gradclip_cli.config.overrides import written
from gradclip_cli.config.schema import Config
from gradclip_cli.config.yaml_tree import Place, Tree
from gradclip_cli.errors import ConfigError

LEARNING_RATE = "optimizer.learning_rate"
CLIPPING = "clipping"
REFUSED = {
    "name": "the arms' names are made from the grid and the base's name",
    "extends": "put it into the base",
    "training.seed": "seeds stand in `seeds`",
    "data.holdout": "put it into the base: cells are only comparable on the same images",
}
"""Keys that no grid may hold, with what to do instead."""


@dataclass(frozen=True)
class Value:
    """One value of an axis, with its place in the file; wherever it stands, it is the same value."""

    tree: Tree = field(compare=False)
    label: str


@dataclass(frozen=True)
class Axis:
    """One key of the grid with its values."""

    key: str
    values: tuple[Value, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Each value in short."""
        return tuple(value.label for value in self.values)

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        plain = [value.tree.value for value in self.values]
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in plain)

    @property
    def title(self) -> str:
        """The key in words."""
        return title(self.key)

    @property
    def of_clipping(self) -> bool:
        """Whether the axis is one of clipping: whole rules, or a setting of one."""
        return self.key.partition(".")[0] == CLIPPING

    def rising(self) -> Axis:
        """The same with its values in ascending order, where they are numbers."""
        ordered = sorted(self.values, key=lambda value: value.tree.value) if self.numeric else self.values
        return Axis(self.key, tuple(ordered))


def title(key: str) -> str:
    """A key in words, such as `learning rate`, or `optimizer` for `optimizer.name`."""
    section, _, last = key.rpartition(".")
    return (section if last == "name" else last).replace("_", " ")


def number_value(number: float, place: Place) -> Value:
    """A number that stands in no grid as a value of an axis."""
    return Value(Tree(number, place, place), _plain_label(number))


def column_axis(axes: Sequence[Axis]) -> int:
    """The axis whose best value is looked for in each row: the learning rate, else the last one but clipping."""
    keys = [axis.key for axis in axes]
    if LEARNING_RATE in keys:
        return keys.index(LEARNING_RATE)
    return max((index for index, key in enumerate(keys) if key != CLIPPING), default=len(keys) - 1)


def read_axes(grid: Tree) -> tuple[Axis, ...]:
    """The grid's axes in its order; numbers in the columns rise. Raises ConfigError with every mistake in it."""
    if not isinstance(grid.value, dict) or not grid.value:
        example = f"{LEARNING_RATE}: [0.01, 0.1]"
        raise ConfigError([f"{grid.place}: the grid is empty; give keys with lists of values, such as {example}"])
    axes = {key: _axis(key, values) for key, values in grid.value.items()}
    mistakes = [mistake for key, values in grid.value.items() for mistake in _refused(key, values)]
    mistakes += [mistake for key, values in grid.value.items() for mistake in _mistakes(axes[key], values)]
    if mistakes:
        raise ConfigError(mistakes)
    read = list(axes.values())
    column = column_axis(read)
    read[column] = read[column].rising()
    return tuple(read)


def _axis(key: str, values: Tree) -> Axis:
    """An axis of what is listed; an empty one where nothing is."""
    listed = values.value if isinstance(values.value, list) else []
    return Axis(key, tuple(Value(_placed(key, value, values), _label(key, value)) for value in listed))


def _placed(key: str, value: Tree, values: Tree) -> Tree:
    """A value with the place where a mistake in it stands: a whole section's own, else its axis's."""
    whole = key in Config.model_fields and isinstance(value.value, dict)
    return Tree(value.value, value.place, value.place if whole else values.key_place)


def _refused(key: str, values: Tree) -> Iterator[str]:
    for refused, instead in REFUSED.items():
        if key == refused or key.startswith(f"{refused}."):
            yield f"{values.key_place}: grid.{key} can't be swept over; {instead}"


def _mistakes(axis: Axis, values: Tree) -> list[str]:
    if not axis.values:
        return [f"{values.place}: grid.{axis.key}: {_no_list(axis.key, values)}"]
    return [*_repeated(axis), *(_no_rules(axis) if axis.key == CLIPPING else [])]


def _no_list(key: str, values: Tree) -> str:
    if isinstance(values.value, dict) and values.value:
        return f"expected a list of values; write {key}.{next(iter(values.value))}: [...] for one of its keys"
    return "expected a list of values with at least one, such as [0.01, 0.1]"


def _repeated(axis: Axis) -> Iterator[str]:
    first: dict[str, Value] = {}
    for value in axis.values:
        if (earlier := first.setdefault(value.label, value)) is not value:
            yield f"{value.tree.place}: grid.{axis.key}: holds {value.label} twice (first at {earlier.tree.place})"


def _no_rules(axis: Axis) -> Iterator[str]:
    for value in axis.values:
        if not isinstance(value.tree.value, dict):
            expected = "expected whole rules, such as {mode: clipnorm, threshold: 1}"
            yield f"{value.tree.place}: grid.{axis.key}: {expected}, not {value.label}"


def _label(key: str, value: Tree) -> str:
    plain = value.plain()
    if not isinstance(plain, dict):
        return _plain_label(plain)
    if key == CLIPPING:
        return _rule_label(plain)
    return ", ".join(f"{name} {_plain_label(child)}" for name, child in plain.items())


def _rule_label(plain: dict[str, Any]) -> str:
    try:
        return ArticleConfig.model_validate({"name": "any", CLIPPING: plain}).clipping.full_label
    except ValidationError:
        return str(plain)  # What is wrong with it is said when the cells are made.


def _plain_label(plain: Any) -> str:
    if isinstance(plain, float):
        short = f"{plain:g}"
        return short if float(short) == plain else repr(plain)
    if isinstance(plain, list):
        return ",".join(map(_plain_label, plain))
    return written(plain) if plain is None or isinstance(plain, bool | int | str) else str(plain)
