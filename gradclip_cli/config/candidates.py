"""Tuned arms of a study: a grid of keys makes candidates, and the best of them, by a rule laid down before, is the arm."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradclip_cli.config import loading
from gradclip_cli.config.grids import CLIPPING, Axis, Value, column_axis, number_value, read_axes, title
from gradclip_cli.config.overrides import Override, laid_over, together
from gradclip_cli.config.schema import LONGEST_NAME, Config
from gradclip_cli.config.yaml_tree import Place, Tree, shortened
from gradclip_cli.errors import ConfigError

MOST_CANDIDATES = 1000
FEWEST_WITH_A_MIDDLE = 3
_REFINED = Place("tuning.refine")


@dataclass(frozen=True)
class Candidate:
    """One config of a tuned arm's grid, and the value of each axis in it."""

    config: Config
    values: Mapping[str, Value]
    """By the key of its axis."""

    @property
    def label(self) -> str:
        """Such as `threshold 1, learning rate 0.1`."""
        return self.label_without("")

    def label_without(self, key: str) -> str:
        """The same without one axis: what stays the same along it."""
        others = [(each, value) for each, value in self.values.items() if each != key]
        return ", ".join(value.label if each == CLIPPING else f"{title(each)} {value.label}" for each, value in others)


@dataclass(frozen=True)
class Tuned:
    """An arm that is chosen among candidates, which are trained with seeds of their own on all but a holdout."""

    arm: str
    base: Tree
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    holdout: int
    factor: float | None
    """With it, two more candidates stand beside the best one: its value in `axis` times this, and divided by it."""
    candidates: tuple[Candidate, ...]

    @property
    def axis(self) -> Axis:
        """The axis that is refined, and whose edges matter: the learning rate, else the last one."""
        return self.axes[column_axis(self.axes)]

    def number(self, candidate: Candidate) -> float:
        """A candidate's value in the axis that is refined."""
        return float(candidate.values[self.axis.key].tree.value)

    def beside(self, best: Candidate) -> list[Candidate]:
        """The finer candidates on both sides of the best one; none where nothing is refined. Raises ConfigError."""
        if self.factor is None:
            return []
        finer = [float(f"{self.number(best) * by:.4g}") for by in (1 / self.factor, self.factor)]
        known = [candidate.values for candidate in self.candidates]
        values = [{**best.values, self.axis.key: number_value(each, _REFINED)} for each in finer]
        return [_candidate(self.arm, self.base, self.holdout, each) for each in values if each not in known]

    def at_edge(self, best: Candidate) -> bool:
        """Whether the best one lies at an end of its axis, so that a better one may lie beyond; of two values none is told to."""
        if not self.axis.numeric or len(self.axis.values) < FEWEST_WITH_A_MIDDLE:
            return False
        numbers = [value.tree.value for value in self.axis.values]
        return not min(numbers) < self.number(best) < max(numbers)

    def settled(self, best: Candidate) -> Config:
        """The best one as the arm: under its name, trained on all that there is to train on."""
        data = best.config.data.model_copy(update={"holdout": 0})
        return best.config.model_copy(update={"name": self.arm, "data": data})


def tuned(arm: str, base: Tree, grid: Tree, seeds: Sequence[int], holdout: int, factor: float | None) -> Tuned:
    """An arm with the candidates that a grid makes of a base. Raises ConfigError with every mistake and its place."""
    axes = read_axes(grid)
    axis = axes[column_axis(axes)]
    if factor is not None and not axis.numeric:
        raise ConfigError([f"{grid.place}: grid.{axis.key}: only numbers can be refined"])
    if (count := math.prod(len(each.values) for each in axes)) > MOST_CANDIDATES:
        raise ConfigError([f"{grid.place}: {count:,} candidates, which is over {MOST_CANDIDATES:,}; shorten the grid"])
    if CLIPPING in [each.key for each in axes]:  # whose values are whole rules
        base = Tree({key: child for key, child in base.value.items() if key != CLIPPING}, base.place, base.key_place)
    return Tuned(arm, base, axes, tuple(seeds), holdout, factor, tuple(_candidates(arm, base, axes, holdout)))


def _candidates(arm: str, base: Tree, axes: Sequence[Axis], holdout: int) -> list[Candidate]:
    found, problems = [], dict[str, None]()
    for values in itertools.product(*(axis.values for axis in axes)):
        try:
            found.append(_candidate(arm, base, holdout, {axis.key: value for axis, value in zip(axes, values, strict=True)}))
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError(list(problems))
    return found


def _candidate(arm: str, base: Tree, holdout: int, values: Mapping[str, Value]) -> Candidate:
    """A candidate under its own name, such as clipnorm+clipping.threshold=1. Raises ConfigError."""
    held = Override("data.holdout", Tree(holdout, base.place, base.key_place), base.place)
    chosen = [Override(key, value.tree, value.tree.key_place) for key, value in values.items()]
    config = loading.validated(laid_over(base, together([held, *chosen])))
    name = "+".join([arm, *(value.label if key == CLIPPING else f"{key}={value.label}" for key, value in values.items())])
    name = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", name)
    if len(name) > LONGEST_NAME:
        raise ConfigError([f"{shortened(name)} is longer than {LONGEST_NAME} letters; give the arm a shorter name"])
    return Candidate(config.model_copy(update={"name": name}), values)
