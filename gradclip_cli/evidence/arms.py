"""Stored runs, read and checked, as arms: what they scored, what differs between them, what is mixed within them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray, FloatArray
from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.problems import problem_of
from gradclip_cli.runs import readings
from gradclip_cli.runs.csv_files import EVALUATED, score_columns
from gradclip_cli.runs.epochs import Epochs
from gradclip_cli.runs.metadata import is_evaluated, metrics_of
from gradclip_cli.runs.names import nothing_in
from gradclip_cli.runs.readings import Reading
from gradclip_cli.runs.store import RunDirectory, runs
from gradclip_cli.texts import counted

COLLAPSING = "val_accuracy"
COLLAPSE = 0.05
"""Fall of the evaluated accuracy within an epoch, beyond which a run collapsed."""
NOT_TRAINED_BY = {"name", "training.seed", "records.every"}
"""Keys that tell arms or runs apart, and not what is trained."""


@dataclass(frozen=True)
class StoredRun:
    """One finished run."""

    directory: RunDirectory
    config: Config
    metadata: dict[str, Any]
    metrics: Epochs

    @property
    def seed(self) -> int:
        return self.config.training.seed

    @property
    def recorded(self) -> bool:
        """Whether its own loop trained it, and gradclip only watched."""
        return bool(self.metadata.get("recorded"))

    @property
    def seed_named(self) -> bool:
        """Whether its seed is one, rather than the next number that was free when it was recorded."""
        return self.metadata.get("seed_named") is not False

    @property
    def diverged(self) -> bool:
        """Whether a loss or weight became NaN or infinite."""
        return bool(self.metadata["status"] == "diverged")


@dataclass(frozen=True)
class Arm:
    """All finished runs of one name, by seed."""

    name: str
    runs: tuple[StoredRun, ...]
    replicates: tuple[Arm, ...] = ()
    """Arms that repeat it with other rounding, with seeds that it has; empty unless somebody asked for them."""
    worst_of_all: Mapping[str, FloatArray] = field(default_factory=dict)
    """By column: the worst that a finished run had at each epoch, of all that this arm is compared with: see `held_together`."""

    @property
    def config(self) -> Config:
        """The first run's config, which stands for all but the seed."""
        return self.runs[0].config

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def unnamed(self) -> list[int]:
        """The numbers of runs whose seed nobody named: they pair nothing."""
        return [run.seed for run in self.runs if not run.seed_named]

    @property
    def diverged(self) -> BoolArray:
        """Which runs diverged, (seeds,)."""
        return np.array([run.diverged for run in self.runs])

    @property
    def evaluation_split(self) -> str:
        """`test`, `holdout` or `validation`; `training` where nothing is evaluated."""
        return str(self.runs[0].metadata.get("evaluation_split") or "training")

    @property
    def epochs(self) -> int:
        """Of its longest run."""
        return max(run.config.training.epochs for run in self.runs)

    @property
    def steps_per_epoch(self) -> int:
        """Of its longest epochs."""
        return max(run.config.training.steps_per_epoch for run in self.runs)

    @property
    def evaluated(self) -> bool:
        """Whether its epochs are evaluated on other samples than those of its steps."""
        return is_evaluated(self.runs[0].metadata)

    @property
    def metrics(self) -> dict[str, bool]:
        """Its metrics by name, each with whether higher is better."""
        return metrics_of(self.runs[0].metadata)

    @property
    def columns(self) -> list[str]:
        """Of `metrics.csv`: those of losses and metrics."""
        return score_columns(self.metrics, evaluated=self.evaluated)

    def higher_is_better(self, column: str) -> bool:
        """Whether a metric's or loss's column is better where it is higher."""
        return self.metrics.get(_name(column), False)

    @property
    def can_collapse(self) -> bool:
        """Whether it has the accuracy by which a collapse is known."""
        return COLLAPSING in self.columns

    @property
    def collapsed(self) -> BoolArray:
        """Which runs' evaluated accuracy fell by more than 5 points from one epoch to the next, (seeds,); none without one."""
        if not self.can_collapse:
            return np.zeros(len(self.runs), dtype=bool)
        falls = -np.diff(self.curves(COLLAPSING), axis=1, prepend=np.nan)
        return np.asarray((falls > COLLAPSE).any(axis=1))  # what is not known is no fall

    def only(self, seeds: Iterable[int]) -> Arm:
        """The same arm with these of its seeds."""
        wanted = set(seeds)
        runs = tuple(run for run in self.runs if run.seed in wanted)
        return replace(self, runs=runs, replicates=tuple(each.only(wanted) for each in self.replicates))

    def curves(self, column: str) -> FloatArray:
        """A column of `metrics.csv` as it is, (seeds, epochs); NaN where a run has no such epoch.

        A recorded run that its own loop ended early stays what it was then.
        """
        values = np.full((len(self.runs), self.epochs), np.nan)
        for row, run in zip(values, self.runs, strict=True):
            row[: len(run.metrics)] = run.metrics[column]
            if run.recorded and len(run.metrics):
                row[len(run.metrics) :] = run.metrics[column][-1]
        return values

    def chance(self, column: str) -> float | None:
        """What a model that looks at nothing scores in a column of a loss or metric; None where that isn't known.

        On the evaluated split as stored for it, else as on the training split: in the article both have the same classes.
        """
        stored = self.runs[0].metadata.get("chance")
        known = _chance_of_older_runs(self.config) if stored is None else stored
        chance = known.get(column, known.get(_name(column)))
        return None if chance is None else float(chance)

    def worst(self, column: str) -> float:
        """What a diverged run is scored as: chance, or where that isn't known the worst that finished; NaN where none did."""
        return float(self._worst_by_epoch(column)[-1])

    def _worst_by_epoch(self, column: str) -> FloatArray:
        """The same for each epoch, (epochs,)."""
        chance, epochs = self.chance(column), self.epochs
        if chance is not None:
            return np.full(epochs, chance)
        return self.worst_of_all[column] if column in self.worst_of_all else worst_by_epoch([self], column, epochs)

    def scored(self, column: str) -> FloatArray:
        """A loss's or metric's column as it is scored, (seeds, epochs): chance is the worst, and a diverged run ends there.

        Where chance isn't known nothing is capped, and a diverged run is where the worst is that finished.
        """
        higher, capped = self.higher_is_better(column), self.chance(column) is not None
        worst = self._worst_by_epoch(column)
        return scored(self.curves(column), self.diverged, worst=worst, higher_is_better=higher, capped=capped)

    def scored_throughout(self, column: str) -> FloatArray:
        """The same for scores of whole curves: a diverged run is at chance on all its epochs, whatever came before."""
        return np.where(self.diverged[:, None], self.worst(column), self.scored(column))


def _name(column: str) -> str:
    """The loss or metric that a column holds, over the steps or on the evaluation split."""
    return column.removeprefix(EVALUATED)


def _chance_of_older_runs(config: Config) -> dict[str, float]:
    """What runs don't say that were trained before they did: they are of the article's kind."""
    chance = problem_of(config).chance
    return asdict(chance) if chance else {}


def worst_by_epoch(arms: Sequence[Arm], column: str, epochs: int) -> FloatArray:
    """The worst finite value of a column at each of so many epochs, (epochs,), in these arms' runs that did not diverge.

    At the last one it is the worst at any run's own end, which also stands for epochs of which nothing is known; NaN where no
    run has one.
    """
    worst = np.fmin if arms[0].higher_is_better(column) else np.fmax
    curves, ends = [np.full(epochs, np.nan)], [np.nan]
    for arm in arms:
        for curve in arm.curves(column)[~arm.diverged]:
            known = np.where(np.isfinite(curve), curve, np.nan)
            curves.append(np.pad(known[:epochs], (0, max(0, epochs - len(known))), constant_values=np.nan))
            ends.append(known[-1])
    found, end = worst.reduce(curves), worst.reduce(ends)
    return np.append(np.where(np.isnan(found), end, found)[:-1], end)


def held_together(arms: Sequence[Arm]) -> list[Arm]:
    """Arms that know the worst that a finished run of any of them had: what diverged runs score as without chance.

    Losses are held together where they are of one kind, metrics where the same way is better.
    """
    return [_knowing(arm, arms) for arm in arms]


def _knowing(arm: Arm, others: Sequence[Arm]) -> Arm:
    worst = {}
    for column in arm.columns:
        if arm.chance(column) is None:
            alike = [other for other in others if _are_alike(arm, other, column)]
            together = [each for other in alike for each in (other, *other.replicates)]
            worst[column] = worst_by_epoch(together, column, arm.epochs)
    if not worst:
        return arm
    return replace(arm, worst_of_all=worst, replicates=tuple(replace(each, worst_of_all=worst) for each in arm.replicates))


def _are_alike(one: Arm, other: Arm, column: str) -> bool:
    """Whether what two arms have in a column means the same."""
    if _name(column) == "loss":
        return one.config.loss == other.config.loss
    return column in other.columns and one.higher_is_better(column) == other.higher_is_better(column)


def scored(
    curves: FloatArray, diverged: BoolArray, *, worst: float | FloatArray, higher_is_better: bool, capped: bool = True
) -> FloatArray:
    """Curves (seeds, epochs) as scored: where they are `capped` nothing is worse than `worst`, and a diverged run is no better.

    `worst` is what a uniform guess gets, or (epochs,) the worst that there is. A diverged run (`diverged`, (seeds,)) has it from
    the epoch that it didn't finish on, and at its last epoch in any case: a score from the last epoch then never rewards
    divergence. Losses are capped at it; accuracies that really were lower stay.
    """
    values = np.where(np.isfinite(curves), curves, worst)
    if capped and not higher_is_better:
        values = np.minimum(values, worst)
    values[diverged, -1] = np.broadcast_to(worst, values.shape[1])[-1]
    return values


def read_arms(results: Path, names: Sequence[str] = ()) -> tuple[list[Arm], list[str]]:
    """Read the finished runs of these arms (all without `names`), with a warning for each broken or unfinished one.

    Raises ReportError where an arm has no runs at all, or where nothing is left.
    """
    stored = runs(results)
    by_arm: dict[str, list[RunDirectory]] = {}
    for run in stored:
        by_arm.setdefault(run.arm, []).append(run)
    known = list(by_arm)
    missing = [name for name in names if name not in known]
    if not stored:
        raise ReportError(nothing_in(results))
    if missing:
        raise ReportError(f"No runs of {', '.join(missing)} in {results}. There are: {', '.join(known)}")
    arms: list[Arm] = []
    warnings: list[str] = []
    wanted = [directory for name in dict.fromkeys(names or known) for directory in by_arm[name]]
    read = dict(zip(wanted, readings.read_finished(results, wanted), strict=True))
    for name in dict.fromkeys(names or known):
        finished: list[StoredRun] = []
        for directory in by_arm[name]:
            try:
                finished.append(_fitting(_stored_run(directory, read[directory]), finished))
            except (StoreError, ReportError) as error:
                warnings.append(f"left out: {error}")
        if finished:
            arms.append(Arm(name, tuple(finished)))
    if not arms:
        raise ReportError("\n".join([f"No finished run to compare in {results}.", *warnings]))
    return arms, warnings


def _stored_run(directory: RunDirectory, read: Reading | StoreError) -> StoredRun:
    """The run that was read. Raises StoreError where it could not be."""
    if isinstance(read, StoreError):
        raise read
    return StoredRun(directory, read.config, read.metadata, read.epochs)


def alone(directory: RunDirectory) -> Arm:
    """A finished run as an arm of its own. Raises StoreError where it is not finished or can't be read."""
    [read] = readings.read_finished(directory.path.parent.parent, [directory])
    return Arm(directory.arm, (_stored_run(directory, read),))


def _fitting(run: StoredRun, others: Sequence[StoredRun]) -> StoredRun:
    """The run, where it has the metrics of its arm's others. Raises ReportError where it hasn't."""
    if others and _columns(run) != _columns(others[0]):
        ours, theirs = (", ".join(metrics_of(each.metadata)) or "none" for each in (run, others[0]))
        raise ReportError(f"{run.directory.path}: its metrics ({ours}) are not those of seed {others[0].seed} ({theirs})")
    return run


def _columns(run: StoredRun) -> tuple[dict[str, bool], bool]:
    return metrics_of(run.metadata), is_evaluated(run.metadata)


def other_differences(base: Arm, arm: Arm) -> list[tuple[str, Any, Any]]:
    """Keys in which what two arms train differs besides clipping and seed, with both values."""
    found = loading.differences(base.config, arm.config)
    others = [each for each in found if not each[0].startswith("clipping.") and each[0] not in NOT_TRAINED_BY]
    return [each for each in others if not _is_the_clipping(each, base.config, arm.config)]


def _is_the_clipping(difference: tuple[str, Any, Any], base: Config, arm: Config) -> bool:
    """Whether a value of two scripts is what their recorders saw them clip at."""
    key, there, here = difference
    told = [_clips_at(base, there), _clips_at(arm, here)]
    return key.startswith("values.") and base.clipping != arm.clipping and all(told)


def _clips_at(config: Config, value: Any) -> bool:
    return config.clipping.mode == "none" or config.clipping.threshold_of_all == value


def differences(arms: Sequence[Arm]) -> list[str]:
    """What differs between the arms besides clipping, and within an arm besides the seed."""
    base = arms[0]
    sentences = []
    for arm in arms:
        keys = [f"{key} is {there}, not {here}" for key, here, there in other_differences(base, arm)]
        if keys:
            sentences.append(f"{arm.name} differs from {base.name} in more than clipping: {'; '.join(keys)}")
        for one in (arm, *arm.replicates):
            sentences += _mixed_configs(one)
    return sentences


def _mixed_configs(arm: Arm) -> list[str]:
    sentences = []
    first = arm.config.with_seed(0)
    for run in arm.runs[1:]:
        config = run.config.with_seed(0)
        if config != first and (mixed := loading.differences(first, config)):
            keys = [f"{key}: {here} and {there}" for key, here, there in mixed]
            sentences.append(f"{arm.name} mixes configs (seed {run.config.training.seed}): {'; '.join(keys)}")
    return sentences


def _version(package: str, run: StoredRun) -> str | None:
    """The version of a package that a run was trained with; None where its framework needs none."""
    version: str | None = run.metadata["versions"].get(package)
    return version


def mixtures(arms: Sequence[Arm]) -> list[str]:
    """Warn where the runs come from several versions, machines, datasets or engine settings."""
    arms = [one for arm in arms for one in (arm, *arm.replicates)]
    packages = sorted({package for arm in arms for run in arm.runs for package in run.metadata["versions"]})
    facts: dict[str, Callable[[StoredRun], Any]] = {
        **{f"versions of {package}": functools.partial(_version, package) for package in packages},
        "machines": lambda run: run.metadata["machine"].get("processor"),
        "datasets": lambda run: run.metadata.get("dataset_sha256"),
        "evaluation splits": lambda run: run.metadata.get("evaluation_split"),
        "engine settings": lambda run: ", ".join(f"{key} {value}" for key, value in run.config.engine.model_dump().items()),
    }
    warnings = []
    for fact, of in facts.items():
        values: dict[Any, list[str]] = {}
        for arm in arms:
            for run in arm.runs:
                values.setdefault(of(run), []).append(f"{arm.name}/{run.directory.path.name}")
        values.pop(None, None)
        if len(values) > 1:
            found = (f"{value} ({counted(len(places), 'run')}, such as {places[0]})" for value, places in values.items())
            warnings.append(f"mixed {fact}: {'; '.join(found)}")
    return warnings
