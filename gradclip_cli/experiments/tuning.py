"""The tuned arms of a study: their candidates are trained on all but a holdout, and the best of each becomes the arm.

What is held out is only chosen on. The arm is then trained anew on all that there is to train on, with seeds that no candidate
had, and judged on the test set: no figure is used twice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradclip_cli.config.candidates import Candidate, Tuned
from gradclip_cli.config.schema import Config
from gradclip_cli.config.studies import Study
from gradclip_cli.errors import ConflictsError
from gradclip_cli.evidence.arms import Arm
from gradclip_cli.evidence.metrics import Metric
from gradclip_cli.evidence.plans import TUNING
from gradclip_cli.experiments.choice import best_of, choosing_metric, read_all, score
from gradclip_cli.runs import many
from gradclip_cli.runs.many import PlannedRun

RULE = (
    "A tuned arm is the candidate with the best mean score over the tuning's seeds, on what is held out: by accuracy where the "
    "runs have it, else by their first metric, else by their loss. A diverged run counts as chance, where chance isn't known as "
    "the worst of the arm's candidates that finished; the first of equals."
)
FINER = (
    "Then two more candidates on both sides of the best one, its {axis} times and divided by {factor:g}, are trained with the "
    "same seeds, and the best of all is chosen."
)


@dataclass(frozen=True)
class Choice:
    """What a tuned arm was chosen from: its candidates, the finer ones among them, each with its runs."""

    tuned: Tuned
    candidates: tuple[Candidate, ...]
    arms: tuple[Arm, ...]
    metric: Metric

    @functools.cached_property
    def scores(self) -> list[float]:
        """Each candidate's mean over seeds, as told; a diverged run counts as chance."""
        return [score(self.metric, arm) for arm in self.arms]

    @functools.cached_property
    def place(self) -> int:
        """Of the best candidate; the first where no score is a number."""
        return best_of(self.metric, self.scores) or 0

    @property
    def best(self) -> Candidate:
        """The candidate that becomes the arm."""
        return self.candidates[self.place]

    @property
    def config(self) -> Config:
        """The arm's config."""
        return self.tuned.settled(self.best)


def rules(study: Study) -> dict[str, str]:
    """How arms are tuned, to be laid down before; nothing where none is."""
    if not study.tuned:
        return {}
    finer = dict.fromkeys(FINER.format(axis=each.axis.title, factor=each.factor) for each in study.tuned if each.factor)
    return {"tuning": " ".join([RULE, *finer])}


def plan(study: Study, results: Path) -> list[PlannedRun]:
    """Plan the runs of all candidates, writing nothing. Raises ConflictError where the folder holds runs of other configs."""
    return [run for tuned in study.tuned for run in _planned(tuned.candidates, tuned, results)]


def plan_finer(study: Study, results: Path) -> list[PlannedRun]:
    """Plan the finer candidates beside the best of each arm, once all others are trained. Raises ReportError, ConflictError."""
    found = []
    for tuned in study.tuned:
        beside = tuned.beside(_choice(tuned, tuned.candidates, results).best) if tuned.factor else []
        found += _planned(beside, tuned, results)
    return found


def choose(study: Study, results: Path) -> dict[str, Choice]:
    """What each tuned arm becomes, by its name. Raises ReportError where a run can't be read."""
    found = {}
    for tuned in study.tuned:
        choice = _choice(tuned, tuned.candidates, results)
        if tuned.factor:
            choice = _choice(tuned, (*tuned.candidates, *tuned.beside(choice.best)), results)
        found[tuned.arm] = choice
    return found


def settled(study: Study, choices: Mapping[str, Choice]) -> Study:
    """The study with its tuned arms chosen."""
    return study.settled({name: choice.config for name, choice in choices.items()})


def planned(configs: Sequence[Config], seeds: Sequence[int], results: Path) -> list[PlannedRun]:
    """Plan a study's runs, writing nothing. Raises ConflictError where the folder holds runs of other configs."""
    try:
        return many.plan(configs, seeds, results)
    except ConflictsError as error:
        raise error.in_short("Train the study into another folder with --results.") from None


def _planned(candidates: Sequence[Candidate], tuned: Tuned, results: Path) -> list[PlannedRun]:
    return planned([candidate.config for candidate in candidates], tuned.seeds, results / TUNING)


def _choice(tuned: Tuned, candidates: Sequence[Candidate], results: Path) -> Choice:
    arms = read_all([candidate.config for candidate in candidates], tuned.seeds, results / TUNING)
    ordered = tuple(arms[candidate.config.name] for candidate in candidates)
    return Choice(tuned, tuple(candidates), ordered, choosing_metric(ordered))
