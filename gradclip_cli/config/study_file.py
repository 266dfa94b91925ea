"""A study's file as it is written: its keys, and what is wrong with them, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gradclip_cli.config.bars import Bar
from gradclip_cli.config.mistakes import key_place_of, place_of
from gradclip_cli.config.schema import ARM_NAME, LONGEST_NAME
from gradclip_cli.config.seeds import named_seeds, parse_seeds
from gradclip_cli.config.yaml_tree import Tree, shortened
from gradclip_cli.errors import ConfigError
from gradclip_cli.sections import NotNegative, Section

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
WrittenBar = Annotated[Bar, BeforeValidator(Bar.read)]
Replicates = Annotated[int, Field(ge=1, le=MOST_REPLICATES)]


class ArmSection(Section):
    """An arm: a config, or what it is tuned over."""

    config: Any
    seeds: Seeds | None = None
    replicates: Replicates | None = None
    grid: Any = None
    tuning_seeds: Seeds | None = None
    holdout: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, given: Any) -> Any:
        return {"config": given} if isinstance(given, str) else given


class TestsSection(Section):
    """Arms held against a baseline by a metric, as one of a family."""

    family: Text
    metric: Text
    baseline: Name
    arms: list[Name] = Field(min_length=1)
    margin: Annotated[float, Field(gt=0)] | None = None


class TuningSection(Section):
    """With which seeds and holdout tuned arms are chosen."""

    seeds: Seeds
    holdout: Annotated[int, Field(ge=1)]
    refine: Annotated[float, Field(gt=1)] | None = None


class ProblemSection(ArmSection):
    """A row of the matrix."""

    metric: Text
    rules: list[Name] | None = None
    success: WrittenBar | None = None
    about: str = ""


class MatrixSection(Section):
    """Problems crossed with rules of clipping."""

    family: Text
    baseline: Name
    rules: dict[Name, Any] = Field(min_length=2)
    problems: dict[Name, ProblemSection] = Field(min_length=1)


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


class StudyFile(Section):
    """The whole file."""

    name: Name
    question: Text
    seen: Text
    power: Text
    seeds: Seeds
    replicates: Replicates = 1
    tuning: TuningSection | None = None
    success: WrittenBar | None = None
    arms: dict[Name, ArmSection] = {}
    matrix: MatrixSection | None = None
    tests: list[TestsSection] = []
    detectors: Detectors | None = None
    rules: dict[str, Text]

    @property
    def arm_names(self) -> list[str]:
        """Of all arms, the matrix's among them."""
        return [*self.arms, *(cell_name(*cell) for cell in self.cells)]

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The matrix's problems and rules, a pair for each cell that is trained."""
        if not self.matrix:
            return []
        every = list(self.matrix.rules)
        return [(name, rule) for name, problem in self.matrix.problems.items() for rule in problem.rules or every]


def cell_name(problem: str, rule: str) -> str:
    """The arm of a matrix's cell."""
    return f"{problem}.{rule}"


def checked(tree: Tree, path: Path) -> StudyFile:
    """The file's keys. Raises ConfigError."""
    try:
        return StudyFile.model_validate({"name": path.stem, **tree.plain()})
    except ValidationError as error:
        raise ConfigError([_described(detail, tree) for detail in error.errors(include_url=False)]) from None


def _described(detail: ErrorDetails, tree: Tree) -> str:
    """One of pydantic's errors with its place."""
    *above, last = map(str, detail["loc"])
    where = ".".join([*above, last])
    if detail["type"] == "missing":
        return f"{place_of(tree, '.'.join(above))}: missing key '{last}' in {'.'.join(above) or 'the study'}"
    if detail["type"] == "extra_forbidden":
        known = _section(above).model_fields
        unknown = f"unknown key '{shortened(last)}' in {'.'.join(above) or 'the study'}"
        return f"{key_place_of(tree, where)}: {unknown}{_near(last, list(known))}"
    message = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else detail["msg"]
    return f"{place_of(tree, where)}: {where}: {message[0].lower()}{message[1:]}"


def _section(above: Sequence[str]) -> type[Section]:
    """What a mistake's place is in."""
    if not above:
        return StudyFile
    if above[0] == "matrix":
        return ProblemSection if above[1:] else MatrixSection
    sections: dict[str, type[Section]] = {"arms": ArmSection, "tuning": TuningSection, DETECTORS: Detectors}
    return sections.get(above[0], TestsSection)


def mistakes(tree: Tree, file: StudyFile) -> Iterator[str]:
    """What is wrong with the tests, the matrix and the detectors, and which of them have no rule."""
    if len(file.arm_names) < 2:
        yield f"{tree.place}: a study has at least two arms"
    if not file.tests and not file.matrix:
        yield f"{tree.place}: missing key 'tests' in the study"
    for place, test in zip(tree.value["tests"].value if file.tests else [], file.tests, strict=True):
        yield from (
            f"{place.place}: tests: no arm '{name}' in this study{_near(name, file.arm_names)}" for name in _unknown(test, file)
        )
        if test.family not in file.rules:
            yield f"{place.place}: tests: say in `rules` what decides {test.family}"
        if test.baseline in test.arms:
            yield f"{place.place}: tests: {test.baseline} is held against itself"
    if crossed := file.matrix:
        yield from _mistakes_of_matrix(tree.value["matrix"], crossed, file.rules)
    yield from _mistakes_of_detectors(tree, file)


def _mistakes_of_matrix(place: Tree, crossed: MatrixSection, rules: Mapping[str, str]) -> Iterator[str]:
    known = list(crossed.rules)
    for problem in crossed.problems.values():
        yield from (
            f"{place.place}: matrix: no rule '{name}'{_near(name, known)}" for name in problem.rules or [] if name not in known
        )
    names = [cell for cell in crossed.problems if crossed.baseline not in (crossed.problems[cell].rules or known)]
    if names:
        yield f"{place.place}: matrix: {', '.join(names)}: the baseline '{crossed.baseline}' is not among the rules"
    if crossed.family not in rules:
        yield f"{place.place}: matrix: say in `rules` what decides {crossed.family}"


def _mistakes_of_detectors(tree: Tree, file: StudyFile) -> Iterator[str]:
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


def _unknown(test: TestsSection, file: StudyFile) -> list[str]:
    return [name for name in dict.fromkeys([test.baseline, *test.arms]) if name not in file.arm_names]


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(known)}"
