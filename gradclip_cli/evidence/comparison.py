"""Arms against a baseline, paired by seed where it is known: which seeds count, each arm's scores, and what the pairs show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gradclip_cli.config.seeds import seed_list
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.evidence import exploratory, plans
from gradclip_cli.evidence.arms import Arm, differences, held_together, mixtures, read_arms
from gradclip_cli.evidence.baselines import baseline_first
from gradclip_cli.evidence.bins import StepBins, step_bins
from gradclip_cli.evidence.judging import ArmReport, judged, reported
from gradclip_cli.evidence.ledger import FirstCompared, Ledger, read_ledger
from gradclip_cli.evidence.metrics import METRICS, Metric, names_for, usual_metric
from gradclip_cli.evidence.pairing import pairing_notes, two_arms
from gradclip_cli.evidence.plans import Look, Plan
from gradclip_cli.evidence.questions import USUAL_QUESTION, Question, Yardstick
from gradclip_cli.evidence.replicates import evened, repeat_notes, with_replicates
from gradclip_cli.evidence.sentences import some_of
from gradclip_cli.evidence.verdicts import judged_together
from gradclip_cli.runs.csv_files import GRADIENT_COLUMNS, score_columns

Seeds = Sequence[int] | Literal["all"] | None
"""Which seeds count: these, all that are stored, or those that were planned."""


@dataclass(frozen=True)
class Comparison:
    """Arms by one metric, the baseline first. `table` has a row an arm with what its runs did, uncapped."""

    yardstick: Yardstick
    arms: tuple[ArmReport, ...]
    table: pd.DataFrame
    notes: tuple[str, ...]
    differences: tuple[str, ...]
    warnings: tuple[str, ...]
    first_compared: FirstCompared
    gradients: Mapping[str, StepBins] = field(default_factory=dict)
    """By arm, where they were read: see `with_gradients`."""

    @property
    def metric(self) -> Metric:
        """What the arms are compared by."""
        return self.yardstick.metric

    @property
    def result_columns(self) -> list[str]:
        """The columns of losses and metrics that some arm has."""
        return result_columns([part.arm for part in self.arms])

    @property
    def is_usual(self) -> bool:
        """Whether the metric is the one that such arms are compared by unless another is asked for."""
        base = self.baseline.arm
        return self.metric.name == usual_metric(base.metrics, evaluated=base.evaluated).name

    @property
    def can_collapse(self) -> bool:
        """Whether some arm has the accuracy by which a collapse is known."""
        return any(part.arm.can_collapse for part in self.arms)

    @property
    def baseline(self) -> ArmReport:
        return self.arms[0]

    @property
    def others(self) -> tuple[ArmReport, ...]:
        return self.arms[1:]

    @property
    def unpaired(self) -> list[str]:
        """The arms that nothing pairs with the baseline."""
        return [report.arm.name for report in self.others if report.against and report.against.unpaired]

    @property
    def sentences(self) -> list[str]:
        """What the comparison says, in plain words."""
        return [report.against.sentence for report in self.others if report.against]

    @property
    def exploratory(self) -> list[str]:
        """Why its verdicts, or some of them, are exploratory; nothing where none is."""
        return list(dict.fromkeys(reason for report in self.others if report.against for reason in report.against.exploratory))

    @property
    def look(self) -> Look:
        """What somebody has seen who saw it."""
        seeds = sorted({seed for part in self.arms for seed in part.arm.seeds})
        names = [part.arm.name for part in self.arms]
        return Look(arms=names, baseline=names[0], metric=self.yardstick.name, seeds=seeds)


def compare(
    results: Path,
    names: Sequence[str] = (),
    baseline: str | None = None,
    question: Question = USUAL_QUESTION,
    *,
    seeds: Seeds = None,
) -> Comparison:
    """Read the finished runs of these arms (all without `names`) and compare them as `compare_arms` does.

    Only runs of `seeds` count; without, those that an experiment planned for this folder, else all. Raises ReportError where
    nothing is left or an arm isn't there, and as `compare_arms` does.
    """
    stored, warnings = read_arms(results, names)
    try:
        plan = plans.read_plan(results)
    except StoreError as error:
        plan = None
        warnings.append(f"{error}; all stored seeds count")
    arms, notes = _chosen(stored, seeds, plan)
    if question.of_replicates:
        arms, left_out = with_replicates(arms, results)
        warnings += [warning for warning in left_out if warning not in warnings]
    compared = compare_arms(arms, baseline, question)
    ordered = [part.arm for part in compared.arms]
    ledger, unknown = read_ledger(results)
    looked_at = [*stored, *(each for arm in ordered for each in arm.replicates)]
    first = {**{arm.name: arm.seeds for arm in looked_at}, **ledger.first_compared}
    return replace(
        compared,
        arms=tuple(_with_reasons(part, compared, plan, replace(ledger, first_compared=first)) for part in compared.arms),
        notes=(*compared.notes, *notes, *_added_seeds(ordered, first, plan)),
        warnings=(*warnings, *unknown, *compared.warnings),
        first_compared=first,
    )


def _with_reasons(report: ArmReport, compared: Comparison, plan: Plan | None, ledger: Ledger) -> ArmReport:
    """The same with the reasons why its verdict is exploratory, if there are any."""
    against = report.against
    if against is None:
        return report
    firsts = [ledger.first_compared[part.arm.name] for part in (compared.baseline, report)]
    reasons = [
        *exploratory.of_metric(compared.yardstick.name, plan, ledger, usual=compared.is_usual, arms=compared.look.arms),
        *_added(compared.baseline, report, plan, firsts),
    ]
    told = f"{against.sentence} This look is exploratory: {'; '.join(reasons)}." if reasons else against.sentence
    return replace(report, against=replace(against, exploratory=reasons, sentence=told))


def _added(baseline: ArmReport, report: ArmReport, plan: Plan | None, firsts: Sequence[Sequence[int]]) -> list[str]:
    """Why seeds make a look exploratory; of unpaired arms each arm's own numbers count."""
    against = report.against
    if against is None or against.unpaired is None:
        return exploratory.of_seeds(against.seeds if against else (), plan, firsts)
    each = zip((baseline, report), firsts, strict=True)
    return list(dict.fromkeys(told for part, first in each for told in exploratory.of_seeds(part.arm.seeds, plan, [first])))


def with_gradients(compared: Comparison) -> Comparison:
    """The same with each arm's gradients by step read, as the pictures want them; what was left out joins the warnings."""
    gradients = {part.arm.name: step_bins(part.arm) for part in compared.arms}
    warnings = [warning for bins in gradients.values() for warning in bins.warnings]
    return replace(compared, gradients=gradients, warnings=(*compared.warnings, *warnings))


def _chosen(stored: Sequence[Arm], seeds: Seeds, plan: Plan | None) -> tuple[list[Arm], list[str]]:
    """The arms with the seeds that count, and a note where some are left out."""
    if seeds == "all" or (seeds is None and plan is None):
        return list(stored), []
    wanted = plan.seeds if seeds is None and plan else seeds or ()
    arms = [arm for whole in stored if (arm := whole.only(wanted)).runs]
    planned = f"that {plan.file} planned" if seeds is None and plan else "asked for"
    hint = "gradclip compare --seeds all counts all that are stored"
    if not arms:
        raise ReportError(f"No run of these arms has a seed {planned} ({seed_list(wanted)}); {hint}.")
    left: dict[str, list[str]] = {}
    for arm in stored:
        if others := sorted(set(arm.seeds) - set(wanted)):
            left.setdefault(seed_list(others), []).append(arm.name)
    if not left:
        return arms, []
    beside = "; ".join(f"{others} ({some_of(names)})" for others, names in left.items())
    return arms, [f"Only the seeds {planned} count ({seed_list(wanted)}). Stored beside them: {beside}; {hint}."]


def compare_arms(arms: Sequence[Arm], baseline: str | None = None, question: Question = USUAL_QUESTION) -> Comparison:
    """Compare arms with the baseline, by seed where runs know theirs: the one that is unclipped, of several the one named `none`.

    Raises ReportError where the baseline isn't among the arms or none is given and it isn't plain which it is, and where the
    metric can't be compared between them.
    """
    arms, repeated = held_together(baseline_first(arms, baseline)), []
    if question.of_replicates:
        even = evened(arms)
        arms, repeated = even, repeat_notes(arms, even)
    yardstick = question.put_to(arms[0])
    require_metric(arms, yardstick.metric)
    if yardstick.metric.of_loss:
        require_one_loss(arms)
    columns = result_columns(arms)
    return Comparison(
        yardstick=yardstick,
        arms=tuple(_reports(arms, yardstick)),
        table=pd.DataFrame([_summary(arm, columns) for arm in arms]),
        notes=(*repeated, *_saved_weights(arms), *pairing_notes(arms[0], arms[1:])),
        differences=tuple(differences(arms)),
        warnings=tuple(mixtures(arms)),
        first_compared={arm.name: arm.seeds for arm in arms},
    )


def require_one_loss(arms: Sequence[Arm]) -> None:
    """Raises ReportError where arms are trained by losses of different kinds."""
    for arm in arms[1:]:
        if arm.config.loss != arms[0].config.loss:
            losses = ", ".join(f"{arm.name}: {arm.config.loss.label}" for arm in arms)
            others = [name for name in _shared_names(arms) if name not in METRICS or not METRICS[name].of_loss]
            instead = f"Compare by --metric {others[0]}." if others else "They have no other metric."
            raise ReportError(f"Losses of different kinds can't be compared ({losses}). {instead}")


def require_metric(arms: Sequence[Arm], metric: Metric) -> None:
    """Raises ReportError where not all arms have the metric, or where it isn't the same that is better."""
    for arm in arms:
        if metric.column not in arm.columns:
            has, why = arm.metrics or ["no metric but its loss"], f"{arm.name} has {{}} instead"
            shared = f"Compare by --metric {_shared_names(arms)[0]}, or name arms that have the same."
            raise ReportError(f"Not all arms have {metric.name}: {why.format(', '.join(has))}. {shared}")
        if arm.higher_is_better(metric.column) != arms[0].higher_is_better(metric.column):
            ways = f"{arm.name} and {arms[0].name} don't agree whether higher is better"
            raise ReportError(f"{metric.name} is not the same metric in all arms: {ways}.")


def _shared_names(arms: Sequence[Arm]) -> list[str]:
    """Names of the metrics that all arms have, the evaluation split's first."""
    first, *others = (dict.fromkeys(names_for(arm.metrics, evaluated=arm.evaluated)) for arm in arms)
    return [name for name in first if all(name in other for other in others)]


def result_columns(arms: Sequence[Arm]) -> list[str]:
    """The columns of losses and metrics that some of these arms have."""
    metrics = dict.fromkeys(name for arm in arms for name in arm.metrics)
    return score_columns(metrics, evaluated=any(arm.evaluated for arm in arms))


def _reports(arms: Sequence[Arm], yardstick: Yardstick) -> list[ArmReport]:
    base, *others = arms
    pairs = {arm.name: pair for arm in others if (pair := two_arms(base, arm, yardstick))}
    judgements = judged_together(list(pairs.values()))
    against = {name: judged(pair, judgement) for (name, pair), judgement in zip(pairs.items(), judgements, strict=True)}
    return [reported(arm, yardstick, against.get(arm.name)) for arm in arms]


def _saved_weights(arms: Sequence[Arm]) -> list[str]:
    """A note where seeds differ in their batches only."""
    saved = [arm.name for arm in arms if arm.config.model.same_for_all_seeds]
    told = f"All seeds of {some_of(saved)} begin with the weights that the model's file holds: they differ in batches only."
    return [told] if saved else []


def _summary(arm: Arm, columns: Sequence[str]) -> dict[str, Any]:
    """What an arm's runs did: means and standard deviations over seeds of each run's last whole epoch, uncapped.

    NaN stands for columns that it doesn't have.
    """
    trained = [run.metrics for run in arm.runs if len(run.metrics)]
    diverged = int(arm.diverged.sum())
    row: dict[str, Any] = {"arm": arm.name, "runs": len(arm.runs), "complete": len(arm.runs) - diverged, "diverged": diverged}
    for column in columns:
        last = pd.Series([epochs[column][-1] for epochs in trained if column in epochs.columns], dtype=float)
        row[column], row[f"{column}_std"] = float(last.mean()), float(last.std(ddof=1))
    norms, largest, clipped = (
        pd.Series([value for epochs in trained for value in epochs[column]], dtype=float) for column in GRADIENT_COLUMNS
    )
    return {
        **row,
        "grad_norm_median": float(norms.median()),
        "grad_norm_max": float(largest.max()),
        "clipped_fraction": float(clipped.mean()),
    }


def _added_seeds(arms: Sequence[Arm], first: FirstCompared, plan: Plan | None) -> list[str]:
    planned = set(plan.seeds) if plan else set()
    notes = []
    for arm in arms:
        added = sorted(set(arm.seeds) - set(first[arm.name]) - planned)
        beside = sorted(set(arm.seeds) - set(added) - planned) if plan else []
        if added:
            notes.append(
                f"{arm.name}: seeds {seed_list(added)} were added after a comparison; their p-values are not those of a plan."
            )
        if plan and beside:
            notes.append(
                f"{arm.name}: seeds {seed_list(beside)} are not among those that {plan.file} planned; "
                "p-values with them are not those of the plan."
            )
    return notes
