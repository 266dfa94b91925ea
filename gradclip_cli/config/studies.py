"""Studies: a YAML file lays down an experiment before its first run: what is trained, tested and decided, and by which rules.

```yaml
question: Does clipping make a run repeatable?
seen: Seeds 0 to 9, where unclipped runs of one seed ended further apart.      # what was looked at before this was written
power: With a third of that difference, 30 seeds show it in 9 of 10 such studies.
seeds: 100-129                                    # as --seeds takes them
replicates: 8                                     # runs of each seed that rounding alone tells apart; without, one
arms:
  none: none                                      # a config, by file or shipped name
  clipvalue: clipvalue
  slow:                                           # or with keys of its own, on other seeds, with other replicates
    config: {extends: none, optimizer: {learning_rate: 0.005}}
    seeds: 100-114
tests:
  - {family: primary, metric: METRIC, baseline: none, arms: [clipvalue]}            # as --metric takes it; margin: as --margin
rules:
  primary: Clipping helps where the test says so.                              # what decides, a text for each family
```

An arm with a `grid` is tuned: the best of its candidates on a holdout, over seeds of the tuning, is trained as the arm.

```yaml
tuning: {seeds: 0-2, holdout: 10000, refine: 1.5}     # 1.5: then two more candidates, on both sides of the best one
arms:
  clipnorm: {config: clipnorm, grid: {clipping.threshold: [0.5, 1], optimizer.learning_rate: [0.01, 0.1]}}
  again: {config: clipnorm, grid: {...}, tuning_seeds: 3-5, holdout: 5000}
```

A `matrix` crosses problems with rules of clipping; its arms are named PROBLEM.RULE, and each is held against its baseline.

```yaml
success: val_accuracy >= 0.6           # what the last epoch of a successful run holds; or one for each problem
matrix:
  family: help
  baseline: none
  rules: {none: {mode: none}, clipnorm: {mode: clipnorm, threshold: 1}}
  problems:
    images: {config: none, metric: val_accuracy, grid: {optimizer.learning_rate: [0.01, 0.1]}}
    digits: {config: mine.yaml, metric: val_accuracy, rules: [none, clipnorm]}     # without a grid, and with some of the rules
```

Each family of tests is adjusted by Holm for itself. Replicate k of an arm has initial weights times 1 + k·1e-6, and is an arm of
its own in the results folder, named as `gradclip run CONFIG --set model.perturbation=...` names it.

```yaml
detectors:                                        # of explosion: see evidence.detectors for what the words mean
  arms: [none]                                    # each by itself
  calibrated_on: 0-29                             # seeds that fix the thresholds, as far as an arm has them
  judged_on: 100-129                              # others, that judge them
  horizon: 100                                    # steps before a divergence within which an alarm is true; without, 100
  early: 10                                       # steps before it from which on an alarm is early; without, 10
  false_alarms: 1                                 # per 1,000 steps, at most, where a threshold is fixed; without, one
```

What decides there stands in `rules` as well, called detectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gradclip_cli.config import loading
from gradclip_cli.config.bars import Bar
from gradclip_cli.config.candidates import Tuned, tuned
from gradclip_cli.config.experiment_files import STUDY, find
from gradclip_cli.config.grids import CLIPPING
from gradclip_cli.config.overrides import written
from gradclip_cli.config.schema import Config
from gradclip_cli.config.seeds import named_seeds
from gradclip_cli.config.study_file import ArmSection, Detectors, StudyFile, cell_name, checked, mistakes
from gradclip_cli.config.yaml_tree import Tree
from gradclip_cli.errors import ConfigError

PERTURBATION = "model.perturbation"
ROUNDING = 1e-6
"""By this share of themselves, times its number, a replicate's initial weights differ."""


@dataclass(frozen=True)
class StudyArm:
    """One arm with its seeds: its config, and so many runs of each seed; a tuned one has no config until it is chosen."""

    name: str
    config: Config | None
    seeds: tuple[int, ...]
    replicates: int = 1
    tuned: Tuned | None = None

    @property
    def configs(self) -> tuple[Config, ...]:
        """The config without perturbation and one more for each replicate; nothing before a tuned arm is chosen."""
        return tuple(_replicates(self.config, self.replicates)) if self.config else ()

    @property
    def runs(self) -> int:
        return self.replicates * len(self.seeds)


@dataclass(frozen=True)
class Matrix:
    """Problems crossed with rules of clipping; each cell but the baseline's is a test."""

    family: str
    baseline: str
    problems: Mapping[str, str]
    """By name, what is said about each."""
    rules: tuple[str, ...]

    def arm(self, problem: str, rule: str) -> str:
        """The name of a cell's arm."""
        return cell_name(problem, rule)


@dataclass(frozen=True)
class StudyTest:
    """An arm held against a baseline by a metric, as one of a family."""

    family: str
    metric: str
    baseline: str
    arm: str
    margin: float | None = None
    """In the metric's unit: a difference within it doesn't matter."""


@dataclass(frozen=True)
class Study:
    """A planned experiment."""

    name: str
    question: str
    seen: str
    """What had been looked at when it was written."""
    power: str
    """What its tests can be expected to show."""
    arms: tuple[StudyArm, ...]
    tests: tuple[StudyTest, ...]
    rules: dict[str, str]
    """What decides, by family."""
    sha256: str
    """Of the file."""
    detectors: Detectors | None = None
    matrix: Matrix | None = None
    bars: Mapping[str, Bar] = field(default_factory=dict)
    """By arm, what a successful run ends with, such as `val_accuracy >= 0.99`."""
    path: Path | None = None
    """The file."""

    @property
    def own_path(self) -> Path | None:
        """The file; None of a study that comes with gradclip."""
        return None if self.path is None or self.path.is_relative_to(loading.shipped_directory()) else self.path

    @property
    def tuned(self) -> list[Tuned]:
        """The tuned arms' candidates."""
        return [arm.tuned for arm in self.arms if arm.tuned]

    def settled(self, chosen: Mapping[str, Config]) -> Study:
        """The same with tuned arms chosen, by name."""
        arms = tuple(replace(arm, config=chosen.get(arm.name, arm.config)) for arm in self.arms)
        return replace(self, arms=arms)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of all arms, in ascending order."""
        return tuple(sorted({seed for arm in self.arms for seed in arm.seeds}))

    @property
    def families(self) -> list[str]:
        """In the order of their first tests."""
        return list(dict.fromkeys(test.family for test in self.tests))


def load(name: str) -> Study:
    """Load the study that `name` means. Raises ConfigError with every mistake and its place."""
    path = find(name, STUDY)
    tree, problems = loading.read_tree(path)
    if problems:
        raise ConfigError(problems)
    file = checked(tree, path)
    reader = _Reader(path, tree, file)
    arms = tuple(arm for name, given, own in reader.given() for arm in reader.arm(name, given, own))
    found = [*reader.mistakes, *mistakes(tree, file)]
    if found:
        raise ConfigError(found)
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    crossed = file.matrix
    about = {name: problem.about for name, problem in crossed.problems.items()} if crossed else {}
    matrix = Matrix(crossed.family, crossed.baseline, about, tuple(crossed.rules)) if crossed else None
    tests, bars = tuple(_tests(file)), dict(_bars(file))
    texts = (file.name, file.question, file.seen, file.power)
    return Study(*texts, arms, tests, file.rules, content, file.detectors, matrix, bars, path)


def _bars(file: StudyFile) -> Iterator[tuple[str, Bar]]:
    """What each arm's success is, of those for which it is said."""
    if file.success:
        yield from ((name, file.success) for name in file.arm_names)
    if crossed := file.matrix:
        for problem, rule in file.cells:
            if bar := crossed.problems[problem].success:
                yield cell_name(problem, rule), bar


def _tests(file: StudyFile) -> Iterator[StudyTest]:
    """The matrix's tests, then the others."""
    if crossed := file.matrix:
        for problem, rule in file.cells:
            if rule != crossed.baseline:
                names = cell_name(problem, crossed.baseline), cell_name(problem, rule)
                yield StudyTest(crossed.family, crossed.problems[problem].metric, *names)
    yield from (StudyTest(each.family, each.metric, each.baseline, arm, each.margin) for each in file.tests for arm in each.arms)


@dataclass
class _Reader:
    """Reads a study's arms one by one; mistakes are gathered, so that all are told at once."""

    path: Path
    tree: Tree
    file: StudyFile

    def __post_init__(self) -> None:
        self.mistakes: list[str] = []

    def given(self) -> Iterator[tuple[str, Tree, ArmSection]]:
        """Each arm's name, what its config is as it is written, and its other keys."""
        for name, own in self.file.arms.items():
            yield name, self.tree.value["arms"].value[name], own
        if crossed := self.file.matrix:
            matrix = self.tree.value["matrix"].value
            for problem, rule in self.file.cells:
                if rule in crossed.rules:
                    given = matrix["problems"].value[problem]
                    ruled = _with_rule(given.value["config"], matrix["rules"].value[rule])
                    whole = Tree({**given.value, "config": ruled}, given.place, given.key_place)
                    yield cell_name(problem, rule), whole, crossed.problems[problem]

    def arm(self, name: str, given: Tree, own: ArmSection) -> Iterator[StudyArm]:
        """The arm, unless something is wrong with it."""
        keys = given.value if isinstance(given.value, dict) else {"config": given}
        seeds, replicates = own.seeds or self.file.seeds, own.replicates or self.file.replicates
        try:
            tree = self._config(name, keys["config"])
            if own.grid is None:
                config = loading.validated(tree)
                loading.require_to_be_trained(config, tree)
                yield StudyArm(name, config.model_copy(update={"name": name}), seeds, replicates)
            else:
                yield StudyArm(name, None, seeds, replicates, self._tuned(name, tree, keys["grid"], own, seeds))
        except ConfigError as error:
            self.mistakes += error.problems

    def _config(self, name: str, given: Tree) -> Tree:
        """An arm's config, named after the arm, as a whole tree. Raises ConfigError."""
        if isinstance(given.value, str):
            given = Tree({"extends": given}, given.place, given.key_place)
        if not isinstance(given.value, dict):
            raise ConfigError([f"{given.place}: arms.{name}: expected a config's name, or a config's keys"])
        named = Tree({"name": Tree(name, given.place, given.key_place), **given.value}, given.place, given.key_place)
        tree, problems = loading.extended(named, self.path)
        if problems:
            raise ConfigError(problems)
        return tree

    def _tuned(self, name: str, base: Tree, grid: Tree, own: ArmSection, seeds: Sequence[int]) -> Tuned:
        """What a tuned arm is chosen from. Raises ConfigError."""
        tuning = self.file.tuning
        if tuning is None:
            raise ConfigError([f"{grid.key_place}: {name} has a grid; say in `tuning` with which seeds and holdout it is tuned"])
        own_seeds = own.tuning_seeds or tuning.seeds
        if shared := set(own_seeds) & set(seeds):
            told = f"{name} is tuned and judged on {named_seeds(sorted(shared))}; no seed may be used twice"
            raise ConfigError([f"{grid.key_place}: {told}"])
        return tuned(name, base, grid, own_seeds, own.holdout or tuning.holdout, tuning.refine)


def _with_rule(config: Tree, rule: Tree) -> Tree:
    """A problem's config, as it is written, with a rule of clipping in place of its own."""
    keys = {"extends": config} if isinstance(config.value, str) else config.value
    return Tree({**keys, CLIPPING: rule}, config.place, config.key_place) if isinstance(keys, dict) else config


def _replicates(config: Config, count: int) -> Iterator[Config]:
    """A config as it is, and so many less one that only rounding tells from it."""
    yield config
    for number in range(1, count):
        value = float(f"{number * ROUNDING:.6g}")
        model = config.model.model_copy(update={"perturbation": value})
        yield config.model_copy(update={"name": f"{config.name}+{PERTURBATION}={written(value)}", "model": model})
