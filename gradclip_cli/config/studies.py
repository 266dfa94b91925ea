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
  - {family: primary, metric: METRIC, baseline: none, arms: [clipvalue]}            # as --metric takes it
rules:
  primary: Clipping helps where the test says so.                              # what decides, a text for each family
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

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gradclip_cli.config import loading
from gradclip_cli.config.experiment_files import STUDY, find
from gradclip_cli.config.mistakes import key_place_of, place_of
from gradclip_cli.config.overrides import written
from gradclip_cli.config.schema import ARM_NAME, LONGEST_NAME, Config
from gradclip_cli.config.seeds import named_seeds, parse_seeds
from gradclip_cli.config.yaml_tree import Tree, shortened
from gradclip_cli.errors import ConfigError
from gradclip_cli.sections import NotNegative, Section

PERTURBATION = "model.perturbation"
ROUNDING = 1e-6
"""By this share of themselves, times its number, a replicate's initial weights differ."""
MOST_REPLICATES = 1000
DETECTORS = "detectors"
"""The key of the file, and of its rule."""


def _seeds(given: Any) -> tuple[int, ...]:
    """Seeds as they are written. Raises ValueError."""
    # A list's comma tells its only seed from a count.
    text = "".join(f"{part}," for part in given) if isinstance(given, list) else str(given)
    try:
        return tuple(parse_seeds(text, "seeds"))
    except ConfigError as error:
        raise ValueError(error.problems[0]) from None


Seeds = Annotated[tuple[int, ...], BeforeValidator(_seeds)]
Name = Annotated[str, Field(pattern=ARM_NAME, max_length=LONGEST_NAME)]
Text = Annotated[str, Field(min_length=1)]
Replicates = Annotated[int, Field(ge=1, le=MOST_REPLICATES)]


class _Arm(Section):
    config: Any
    seeds: Seeds | None = None
    replicates: Replicates | None = None

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, given: Any) -> Any:
        return {"config": given} if isinstance(given, str) else given


class _Tests(Section):
    family: Text
    metric: Text
    baseline: Name
    arms: list[Name] = Field(min_length=1)


class Detectors(Section):
    """Which arms' steps detectors of explosion are fixed and judged on."""

    arms: list[Name] = Field(min_length=1)
    calibrated_on: Seeds
    judged_on: Seeds
    horizon: Annotated[int, Field(ge=1)] = 100
    """Steps before a divergence, within which an alarm is true."""
    early: Annotated[int, Field(ge=1)] = 10
    """Steps before a divergence, from which on an alarm is early."""
    false_alarms: NotNegative = 1.0
    """Per 1,000 steps, at most, on the seeds that fix a threshold."""


class _File(Section):
    name: Name
    question: Text
    seen: Text
    power: Text
    seeds: Seeds
    replicates: Replicates = 1
    arms: dict[Name, _Arm] = Field(min_length=2)
    tests: list[_Tests] = Field(min_length=1)
    detectors: Detectors | None = None
    rules: dict[str, Text]


_PARTS: dict[str, type[Section]] = {"": _File, "arms": _Arm, "tests": _Tests, "detectors": Detectors}
"""Whose keys stand beneath which key of the file."""


@dataclass(frozen=True)
class StudyArm:
    """One arm: its configs, the first without perturbation and one more for each replicate, and the seeds of all of them."""

    configs: tuple[Config, ...]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.configs[0].name

    @property
    def runs(self) -> int:
        return len(self.configs) * len(self.seeds)


@dataclass(frozen=True)
class StudyTest:
    """An arm held against a baseline by a metric, as one of a family."""

    family: str
    metric: str
    baseline: str
    arm: str


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
    file = _checked(tree, path)
    reader = _Reader(path, tree, file)
    arms = tuple(arm for name in file.arms for arm in reader.arm(name))
    mistakes = [*reader.mistakes, *_mistakes(tree, file), *_mistakes_of_detectors(tree, file)]
    if mistakes:
        raise ConfigError(mistakes)
    tests = [StudyTest(each.family, each.metric, each.baseline, arm) for each in file.tests for arm in each.arms]
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return Study(file.name, file.question, file.seen, file.power, arms, tuple(tests), file.rules, content, file.detectors)


def _checked(tree: Tree, path: Path) -> _File:
    """The file's keys. Raises ConfigError."""
    try:
        return _File.model_validate({"name": path.stem, **tree.plain()})
    except ValidationError as error:
        raise ConfigError([_described(detail, tree) for detail in error.errors(include_url=False)]) from None


def _described(detail: ErrorDetails, tree: Tree) -> str:
    """One of pydantic's errors with its place."""
    *above, last = map(str, detail["loc"])
    where = ".".join([*above, last])
    if detail["type"] == "missing":
        return f"{place_of(tree, '.'.join(above))}: missing key '{last}' in {'.'.join(above) or 'the study'}"
    if detail["type"] == "extra_forbidden":
        known = _PARTS[above[0] if above else ""].model_fields
        unknown = f"unknown key '{shortened(last)}' in {'.'.join(above) or 'the study'}"
        return f"{key_place_of(tree, where)}: {unknown}{_near(last, list(known))}"
    message = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else detail["msg"]
    return f"{place_of(tree, where)}: {where}: {message[0].lower()}{message[1:]}"


@dataclass
class _Reader:
    """Reads a study's arms one by one; mistakes are gathered, so that all are told at once."""

    path: Path
    tree: Tree
    file: _File

    def __post_init__(self) -> None:
        self.mistakes: list[str] = []

    def arm(self, name: str) -> Iterator[StudyArm]:
        """The arm, unless something is wrong with it."""
        given, own = self.tree.value["arms"].value[name], self.file.arms[name]
        try:
            config = self._config(name, given.value["config"] if isinstance(given.value, dict) else given)
        except ConfigError as error:
            self.mistakes += error.problems
        else:
            yield StudyArm(tuple(_replicates(config, own.replicates or self.file.replicates)), own.seeds or self.file.seeds)

    def _config(self, name: str, given: Tree) -> Config:
        """An arm's config, named after the arm. Raises ConfigError."""
        if isinstance(given.value, str):
            given = Tree({"extends": given}, given.place, given.key_place)
        if not isinstance(given.value, dict):
            raise ConfigError([f"{given.place}: arms.{name}: expected a config's name, or a config's keys"])
        named = Tree({"name": Tree(name, given.place, given.key_place), **given.value}, given.place, given.key_place)
        tree, problems = loading.extended(named, self.path)
        if problems:
            raise ConfigError(problems)
        config = loading.validated(tree)
        loading.require_to_be_trained(config, tree)
        return config.model_copy(update={"name": name})


def _replicates(config: Config, count: int) -> Iterator[Config]:
    """A config as it is, and so many less one that only rounding tells from it."""
    yield config
    for number in range(1, count):
        value = float(f"{number * ROUNDING:.6g}")
        model = config.model.model_copy(update={"perturbation": value})
        yield config.model_copy(update={"name": f"{config.name}+{PERTURBATION}={written(value)}", "model": model})


def _mistakes(tree: Tree, file: _File) -> Iterator[str]:
    """What is wrong with the tests, and which of their families have no rule."""
    for place, test in zip(tree.value["tests"].value, file.tests, strict=True):
        yield from (
            f"{place.place}: tests: no arm '{name}' in this study{_near(name, list(file.arms))}" for name in _unknown(test, file)
        )
        if test.family not in file.rules:
            yield f"{place.place}: tests: say in `rules` what decides {test.family}"
        if test.baseline in test.arms:
            yield f"{place.place}: tests: {test.baseline} is held against itself"


def _mistakes_of_detectors(tree: Tree, file: _File) -> Iterator[str]:
    """What is wrong with the arms and seeds of detectors, and whether a rule is missing."""
    if not (wanted := file.detectors):
        return
    place = f"{tree.value['detectors'].place}: detectors: "
    for name in wanted.arms:
        if name not in file.arms:
            yield f"{place}no arm '{name}' in this study{_near(name, list(file.arms))}"
            continue
        seeds = set(file.arms[name].seeds or file.seeds)
        for key, asked in (("calibrated_on", wanted.calibrated_on), ("judged_on", wanted.judged_on)):
            if not seeds & set(asked):
                yield f"{place}{name} has none of the seeds of {key}"
    if shared := set(wanted.calibrated_on) & set(wanted.judged_on):
        yield f"{place}{named_seeds(sorted(shared))} would judge what they fix"
    if wanted.early > wanted.horizon:
        yield f"{place}early is {wanted.early}, beyond the horizon of {wanted.horizon}"
    if DETECTORS not in file.rules:
        yield f"{place}say in `rules` what decides, called {DETECTORS}"


def _unknown(test: _Tests, file: _File) -> list[str]:
    return [name for name in dict.fromkeys([test.baseline, *test.arms]) if name not in file.arms]


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(known)}"
