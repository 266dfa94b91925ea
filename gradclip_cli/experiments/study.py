"""`study`: the runs that a plan names are trained, then each family of its tests is judged by itself.

A study decides nothing that its file did not say before the first run: arms, seeds, replicates, tests and rules stand in
`plan.json`, with the SHA-256 of the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gradclip_cli.config.schema import Config
from gradclip_cli.config.seeds import named_seeds, seed_list
from gradclip_cli.config.studies import Study, StudyArm, StudyTest
from gradclip_cli.errors import ReportError
from gradclip_cli.evidence import intentions, samples
from gradclip_cli.evidence.adherence import Adherence
from gradclip_cli.evidence.arms import Arm, held_together, read_arms
from gradclip_cli.evidence.comparison import require_metric, require_one_loss
from gradclip_cli.evidence.intentions import Intention
from gradclip_cli.evidence.judging import AgainstBaseline, judged
from gradclip_cli.evidence.pairing import two_arms
from gradclip_cli.evidence.plans import Look, PlannedTest
from gradclip_cli.evidence.questions import Question, Yardstick
from gradclip_cli.evidence.replicates import evened
from gradclip_cli.evidence.sentences import some_of
from gradclip_cli.evidence.verdicts import TwoArms, judged_together
from gradclip_cli.experiments import study_detectors, tuning
from gradclip_cli.experiments.tuning import Choice
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.texts import counted


@dataclass(frozen=True)
class Tested:
    """One of a study's tests with what it found."""

    test: StudyTest
    yardstick: Yardstick
    pair: TwoArms
    """Both arms on the seeds that they share."""
    against: AgainstBaseline


@dataclass(frozen=True)
class Result:
    """What a study found. Its arms have their replicates with them."""

    study: Study
    arms: Mapping[str, Arm]
    tested: Sequence[Tested]
    adherence: Adherence
    warnings: Sequence[str]
    choices: Mapping[str, Choice] = field(default_factory=dict)
    """How each tuned arm was chosen, by its name."""
    detectors: study_detectors.Found | None = None
    file: str | None = None
    """The study's file as seen from the folder of its runs; None where it comes with gradclip."""

    def family(self, name: str) -> list[Tested]:
        """The tests of a family, in their order."""
        return [each for each in self.tested if each.test.family == name]

    @property
    def looks(self) -> list[Look]:
        """What somebody has seen who saw its report."""
        return [
            Look(arms=[each.test.baseline, each.test.arm], baseline=each.test.baseline, metric=each.yardstick.name, seeds=seeds)
            for each in self.tested
            if (seeds := each.against.seeds)
        ]


def plan(study: Study, results: Path) -> list[PlannedRun]:
    """Plan the study's runs, writing nothing. Raises ConflictError where the folder holds runs of other configs."""
    return [run for arm in study.arms for run in tuning.planned(arm.configs, arm.seeds, results)]


def record_plan(study: Study, results: Path) -> None:
    """Write down what is planned before the first run; a plan that is there already stays. Raises StoreError."""
    intentions.record_plan(results, intention(study))


def intention(study: Study) -> Intention:
    """What a study trains, tests and decides by."""
    tests = [PlannedTest(arm=test.arm, baseline=test.baseline, metric=test.metric, family=test.family) for test in study.tests]
    return Intention(
        kind="study",
        configs=[config for arm in study.arms for config in _configs(arm)],
        seeds=study.seeds,
        tuned={tuned.arm: tuned.seeds for tuned in study.tuned},
        tests=tests,
        rules={**study.rules, **tuning.rules(study), **_beside(study)},
    )


def _configs(arm: StudyArm) -> list[Config]:
    """What of an arm is known before its first run: its configs, or its candidates'."""
    return [candidate.config for candidate in arm.tuned.candidates] if arm.tuned else list(arm.configs)


def _beside(study: Study) -> dict[str, str]:
    """What else was laid down."""
    trained = "; ".join(f"{arm.name}: {named_seeds(arm.seeds)}, {counted(arm.replicates, 'run')} each" for arm in study.arms)
    return {
        "question": study.question,
        "seen": study.seen,
        "power": study.power,
        "trained": trained,
        **({"detectors, how": study_detectors.described(study.detectors)} if study.detectors else {}),
        "file SHA-256": study.sha256,
    }


def read(study: Study, results: Path) -> Result:
    """Read the study's runs, choose its tuned arms, and make its tests.

    Raises ReportError where a run can't be read or lacks what a test needs.
    """
    choices = tuning.choose(study, results)
    study = tuning.settled(study, choices)
    configs = [config for arm in study.arms for config in arm.configs]
    stored, warnings = read_arms(results, [config.name for config in configs])
    by_name = {arm.name: arm for arm in held_together(stored)}
    arms = {arm.name: _with_replicates(arm, by_name, warnings) for arm in study.arms}
    adherence = Adherence.of(results, intention(study), list(by_name.values()))
    tested = [each for family in study.families for each in _judged(family, study, arms)]
    detectors = study_detectors.read(study, arms, results)
    return Result(study, arms, tested, adherence, warnings, choices, detectors, _file(study, results))


def _file(study: Study, results: Path) -> str | None:
    """Where the study's file is, as seen from a folder; a path from elsewhere on another drive."""
    if study.own_path is None:
        return None
    try:
        return Path(os.path.relpath(study.own_path.resolve(), results.resolve())).as_posix()
    except ValueError:  # on another of Windows's drives
        return study.own_path.resolve().as_posix()


def _with_replicates(arm: StudyArm, stored: Mapping[str, Arm], warnings: Sequence[str]) -> Arm:
    """An arm with its planned seeds, and its replicates with it. Raises ReportError where a run is missing."""
    parts = [stored[config.name].only(arm.seeds) for config in arm.configs if config.name in stored]
    found = {part.name: set(part.seeds) for part in parts}
    missing = {config.name: sorted(set(arm.seeds) - found.get(config.name, set())) for config in arm.configs}
    if lost := [f"{name}, {named_seeds(seeds)}" for name, seeds in missing.items() if seeds]:
        broken = "\n  ".join(warnings)
        raise ReportError(
            f"Runs can't be read: {some_of(lost)}. Remove them (gradclip rm), then give the same command again.\n  {broken}"
        )
    return replace(parts[0], replicates=tuple(parts[1:]))


def _judged(family: str, study: Study, arms: Mapping[str, Arm]) -> list[Tested]:
    """A family's tests, adjusted by Holm over all of them."""
    tests = [test for test in study.tests if test.family == family]
    pairs = [_pair(test, arms) for test in tests]
    judgements = judged_together(pairs)
    found = zip(tests, pairs, judgements, strict=True)
    return [Tested(test, pair.yardstick, pair, judged(pair, judgement)) for test, pair, judgement in found]


def _pair(test: StudyTest, arms: Mapping[str, Arm]) -> TwoArms:
    """A test's arms by its metric. Raises ReportError where they don't have it, or share no seed."""
    base, arm = arms[test.baseline], arms[test.arm]
    question = Question(metric=test.metric, margin=test.margin)
    if question.of_replicates:
        base, arm = evened([base, arm])
    yardstick = question.put_to(base)
    require_metric([base, arm], yardstick.metric)
    if yardstick.metric.of_loss:
        require_one_loss([base, arm])
    pair = two_arms(base, arm, yardstick)
    if pair is None:
        shared = f"{test.arm} has {seed_list(arm.seeds)}, {test.baseline} has {seed_list(base.seeds)}"
        raise ReportError(f"{test.arm} shares no seed with {test.baseline} ({shared}).")
    return pair


def verdict_sentence(study: Study) -> str:
    """Whether the planned seeds can give a verdict on each test."""
    told = []
    for family in study.families:
        tests = [test for test in study.tests if test.family == family]
        seeds = {arm.name: set(arm.seeds) for arm in study.arms}
        fewest = min(len(seeds[test.arm] & seeds[test.baseline]) for test in tests)
        needed = samples.seeds_for_a_verdict(len(tests))
        enough = f"there are {fewest}" if fewest >= needed else f"{fewest} can show nothing"
        told.append(f"{family}: {counted(len(tests), 'test')}, at least {needed} seeds, {enough}")
    return f"A verdict takes seeds. {'. '.join(told)}."
