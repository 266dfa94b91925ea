"""Arms against a baseline, paired by seed: scores, differences, verdicts, and the sentences that say them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.evidence import arms as arm_room
from gradclip_cli.evidence import plans, stats
from gradclip_cli.evidence.arms import Arm, StepBins
from gradclip_cli.evidence.metrics import METRICS, Metric, amount, default_target_loss, largest, p_relation, scores, told, unit
from gradclip_cli.evidence.plans import Looks, Plan
from gradclip_cli.texts import counted

RESULT_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")
VERDICTS = ("helps", "hurts", "no difference shown", "equivalent", "exploratory", "not testable")
Seeds = Sequence[int] | Literal["all"] | None
"""Which seeds count: these, all that are stored, or those that were planned."""

MOST_NAMED = 10
"""So many arms are named in an error."""
MOST_KEYS = 3
"""So many keys in which arms differ are named in a verdict."""


@dataclass(frozen=True)
class AgainstBaseline:
    """An arm's paired differences from the baseline on shared seeds, as told (points, nats, steps), and what follows."""

    seeds: list[int]
    differences: list[float]
    mean: float
    low: float
    high: float
    p: float
    won: int
    lost: int
    tied: int
    divergence_p: float
    smallest_p: float
    seeds_for_a_verdict: int
    detectable_effect: float
    seeds_needed: int
    differs_in: list[str]
    """Keys of the config in which the arms differ, those of clipping apart."""
    clipping_acted: bool
    """Whether clipping changed any gradient in the runs compared."""
    p_adjusted: float = math.nan
    equivalent: bool | None = None
    verdict: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class ArmReport:
    """One arm: its scores as told (seeds,), their mean with Student's interval, and how it stands to the baseline."""

    arm: Arm
    scores: list[float]
    mean: float
    low: float
    high: float
    diverged_interval: tuple[float, float]
    against: AgainstBaseline | None


@dataclass(frozen=True)
class Comparison:
    """Arms by one metric, the baseline first. `table` has a row an arm with what its runs did, uncapped."""

    metric: Metric
    target_loss: float
    effect: float
    margin: float | None
    arms: tuple[ArmReport, ...]
    table: pd.DataFrame
    notes: tuple[str, ...]
    differences: tuple[str, ...]
    warnings: tuple[str, ...]
    first_compared: Looks
    gradients: Mapping[str, StepBins] = field(default_factory=dict)
    """By arm, where they were read: see `with_gradients`."""

    @property
    def baseline(self) -> ArmReport:
        return self.arms[0]

    @property
    def others(self) -> tuple[ArmReport, ...]:
        return self.arms[1:]

    @property
    def sentences(self) -> list[str]:
        """What the comparison says, in plain words."""
        return [report.against.sentence for report in self.others if report.against]


def compare(
    results: Path,
    names: Sequence[str] = (),
    baseline: str | None = None,
    *,
    metric: str = "val_accuracy",
    target_loss: float | None = None,
    effect: float | None = None,
    margin: float | None = None,
    seeds: Seeds = None,
) -> Comparison:
    """Read the finished runs of these arms (all without `names`) and compare them as `compare_arms` does.

    Only runs of `seeds` count; without, those that an experiment planned for this folder, else all. Raises ReportError where
    nothing is left or an arm isn't there, and as `compare_arms` does.
    """
    stored, warnings = arm_room.read(results, names)
    try:
        plan = plans.read_plan(results)
    except StoreError as error:
        plan = None
        warnings.append(f"{error}; all stored seeds count")
    arms, notes = _chosen(stored, seeds, plan)
    compared = compare_arms(arms, baseline, metric=metric, target_loss=target_loss, effect=effect, margin=margin)
    ordered = [part.arm for part in compared.arms]
    earlier, unknown = plans.earlier_looks(results)
    first = {**{arm.name: arm.seeds for arm in stored}, **earlier}
    return replace(
        compared,
        notes=(*compared.notes, *notes, *_added_seeds(ordered, first, plan)),
        warnings=(*warnings, *unknown, *compared.warnings),
        first_compared=first,
    )


def with_gradients(compared: Comparison) -> Comparison:
    """The same with each arm's gradients by step read, as the pictures want them; what was left out joins the warnings."""
    gradients = {part.arm.name: arm_room.step_bins(part.arm) for part in compared.arms}
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
    beside = "; ".join(f"{others} ({_named(names)})" for others, names in left.items())
    return arms, [f"Only the seeds {planned} count ({seed_list(wanted)}). Stored beside them: {beside}; {hint}."]


def _named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Names in a row, not too many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def compare_arms(
    arms: Sequence[Arm],
    baseline: str | None = None,
    *,
    metric: str = "val_accuracy",
    target_loss: float | None = None,
    effect: float | None = None,
    margin: float | None = None,
) -> Comparison:
    """Compare arms with the baseline, paired by seed: the one that is unclipped, of several the one named `none`.

    `effect` and `margin` are in the metric's unit as told. Raises ReportError where the baseline isn't among the arms or
    none is given and it isn't plain which it is, and where the metric can't be compared between them.
    """
    arms = _baseline_first(arms, baseline)
    chosen = METRICS[metric]
    if not metric.endswith("accuracy"):
        _require_one_loss(arms)
    target = target_loss if target_loss is not None else default_target_loss(arms[0])
    chosen = replace(chosen, told=chosen.told.format(split=arms[0].evaluation_split, target=target))
    wanted = effect if effect is not None else chosen.effect
    reports, notes = _reports(arms, chosen, target, wanted, margin)
    return Comparison(
        metric=chosen,
        target_loss=target,
        effect=wanted,
        margin=margin,
        arms=tuple(reports),
        table=pd.DataFrame([_summary(arm) for arm in arms]),
        notes=tuple(notes),
        differences=tuple(arm_room.differences(arms)),
        warnings=tuple(arm_room.mixtures(arms)),
        first_compared={arm.name: arm.seeds for arm in arms},
    )


def _baseline_first(arms: Sequence[Arm], baseline: str | None) -> list[Arm]:
    if baseline is None:
        base = _only_unclipped(arms)
    else:
        found = next((arm for arm in arms if arm.name == baseline), None)
        if found is None:
            raise ReportError(f"No arm '{baseline}' to compare with. There are: {', '.join(arm.name for arm in arms)}")
        base = found
    return [base, *(arm for arm in arms if arm is not base)]


def _only_unclipped(arms: Sequence[Arm]) -> Arm:
    """The arm that the others are held against where nobody says which. Raises ReportError where that would be a guess."""
    unclipped = [arm for arm in arms if arm.config.clipping.mode == "none"] if len(arms) > 1 else arms
    named = [arm for arm in unclipped if arm.name == "none"] if len(unclipped) > 1 else unclipped
    if len(named) == 1:
        return named[0]
    several = f"{len(unclipped)} of these arms are unclipped, and none of them is called none"
    why = several if unclipped else "None of these arms is unclipped"
    raise ReportError(f"{why}: name the baseline with --baseline. It can be {_named([arm.name for arm in unclipped or arms])}")


def _require_one_loss(arms: Sequence[Arm]) -> None:
    for arm in arms[1:]:
        if arm.config.loss != arms[0].config.loss:
            losses = ", ".join(f"{arm.name}: {arm.config.loss.name} x {arm.config.loss.target_scale:g}" for arm in arms)
            raise ReportError(f"Losses of different kinds can't be compared ({losses}). Compare by --metric val_accuracy.")


def _reports(
    arms: Sequence[Arm], metric: Metric, target: float, effect: float, margin: float | None
) -> tuple[list[ArmReport], list[str]]:
    base, *others = arms
    shared = {arm.name: sorted(set(base.seeds) & set(arm.seeds)) for arm in others}
    tests = sum(bool(seeds) for seeds in shared.values())
    pairs = [(base.only(shared[arm.name]), arm.only(shared[arm.name])) for arm in others]
    paired = [_pair(*pair, metric, target, effect, margin, tests) if pair[0].runs else None for pair in pairs]
    adjusted = iter(stats.holm([against.p for against in paired if against]))
    judged = [
        _judged(against, next(adjusted), arm, base, metric, margin) if against else None
        for arm, against in zip(others, paired, strict=True)
    ]
    reports = [_report(arm, metric, target, against) for arm, against in zip(arms, [None, *judged], strict=True)]
    return reports, [note for arm in others if (note := _unshared(base, arm))]


def _pair(base: Arm, arm: Arm, metric: Metric, target: float, effect: float, margin: float | None, tests: int) -> AgainstBaseline:
    differences = (scores(arm, metric, target) - scores(base, metric, target)) * metric.scale
    result = stats.compare_pairs(differences)
    better, worse = (result.positive, result.negative) if metric.higher_is_better else (result.negative, result.positive)
    deviation = stats.deviation(differences)
    plannable = math.isfinite(deviation)
    return AgainstBaseline(
        seeds=arm.seeds,
        differences=differences.tolist(),
        mean=result.mean,
        low=result.low,
        high=result.high,
        p=result.p,
        won=better,
        lost=worse,
        tied=result.zero,
        divergence_p=stats.mcnemar_p(base.diverged, arm.diverged),
        smallest_p=stats.smallest_p(result.seeds, tests),
        seeds_for_a_verdict=stats.seeds_for_a_verdict(tests),
        detectable_effect=stats.detectable_effect(deviation, result.seeds, tests=tests) if plannable else math.inf,
        seeds_needed=stats.seeds_needed(effect, deviation, tests=tests) if plannable else 0,
        differs_in=[key for key, *_ in arm_room.other_differences(base, arm)],
        clipping_acted=base.clipping_acted or arm.clipping_acted,
        equivalent=stats.is_equivalent(result, margin) if margin is not None else None,
    )


def _judged(against: AgainstBaseline, p: float, arm: Arm, base: Arm, metric: Metric, margin: float | None) -> AgainstBaseline:
    if _nothing_to_test(against, arm, base):
        verdict = "not testable"
    elif against.smallest_p >= stats.LEVEL:
        verdict = "exploratory"
    elif p < stats.LEVEL:
        verdict = "helps" if (against.mean > 0) == metric.higher_is_better else "hurts"
    else:
        verdict = "equivalent" if against.equivalent else "no difference shown"
    judged = replace(against, p_adjusted=p, verdict=verdict)
    told = [_sentence(judged, arm.name, base.name, metric, margin), *_confounded(judged, arm, base)]
    return replace(judged, sentence=" ".join(told))


def _nothing_to_test(against: AgainstBaseline, arm: Arm, base: Arm) -> bool:
    """Whether two arms that differ in clipping alone trained alike because it never acted: more such seeds would show no more."""
    clipping_alone = arm.config.clipping != base.config.clipping and not against.differs_in
    return clipping_alone and not against.clipping_acted and against.tied == len(against.seeds)


def _confounded(against: AgainstBaseline, arm: Arm, base: Arm) -> list[str]:
    """A sentence where a verdict need not be clipping's."""
    if not against.differs_in:
        return []
    keys = _named(against.differs_in, MOST_KEYS)
    clipping_too = arm.config.clipping != base.config.clipping
    return [f"They differ in more than clipping: {keys}." if clipping_too else f"They differ in {keys}, not in clipping."]


def _sentence(against: AgainstBaseline, arm: str, base: str, metric: Metric, margin: float | None) -> str:
    """One comparison in plain words, claiming no more than its test."""
    seeds = len(against.seeds)
    change = f"{'raised' if against.mean > 0 else 'lowered'} {metric.told} by {amount(abs(against.mean), metric)}"
    interval = f"95% interval {told(against.low, metric)} to {told(against.high, metric)}"
    facts = f"better on {against.won} of {counted(seeds, 'seed')}; {p_relation(against.p_adjusted)}"
    if against.verdict == "not testable":
        return (
            f"Clipping never acted in these runs, so {arm} trained exactly as {base} did on {counted(seeds, 'shared seed')}: "
            "whether it helps can't be tested here."
        )
    if against.verdict == "exploratory":
        seen = f"{change}{' on average' if seeds > 1 else ''}" if against.mean else f"left {metric.told} as it was"
        return (
            f"{arm} against {base} is exploratory: on {counted(seeds, 'shared seed')} it {seen}, but so few can't give "
            f"p below {against.smallest_p:.2g}; {against.seeds_for_a_verdict} seeds could."
        )
    if against.verdict in ("helps", "hurts"):
        sentence = f"{arm} {change} against {base} ({interval}; {facts})."
    else:
        seen = amount(against.mean, metric, sign=True)
        sentence = f"No difference in {metric.told} shown between {arm} and {base} ({seen}; {interval}; {facts})."
    if against.equivalent and margin is not None:
        sentence += f" The interval lies inside ±{margin:g} {metric.unit}: equivalent within that margin."
    return sentence


def _unshared(base: Arm, arm: Arm) -> str | None:
    only_base, only_arm = sorted(set(base.seeds) - set(arm.seeds)), sorted(set(arm.seeds) - set(base.seeds))
    if not only_base and not only_arm:
        return None
    alone = "; ".join(
        f"only {name} has {seed_list(seeds)}" for name, seeds in ((base.name, only_base), (arm.name, only_arm)) if seeds
    )
    shared = len(set(base.seeds) & set(arm.seeds))
    if not shared:
        return f"{arm.name} shares no seed with {base.name}, so they can't be paired ({alone}). Train the same seeds of both."
    return f"{arm.name} and {base.name} are compared on the {counted(shared, 'seed')} that both have ({alone})."


def seed_list(seeds: Sequence[int]) -> str:
    """Seeds in short, such as 0-4, 7."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _report(arm: Arm, metric: Metric, target: float, against: AgainstBaseline | None) -> ArmReport:
    values = scores(arm, metric, target) * metric.scale
    low, high = stats.mean_interval(values)
    if math.isfinite(low):  # few seeds may know less than what is possible at all
        most = largest(metric, arm)
        low, high = (-math.inf, math.inf) if low <= 0 and high >= most else (max(low, 0.0), min(high, most))
    shares = stats.share_interval(int(arm.diverged.sum()), len(arm.runs))
    return ArmReport(arm, values.tolist(), float(values.mean()), low, high, shares, against)


def _summary(arm: Arm) -> dict[str, Any]:
    """What an arm's runs did: means and standard deviations over seeds of each run's last whole epoch, uncapped."""
    last = pd.DataFrame([run.metrics.iloc[-1] for run in arm.runs if len(run.metrics)], columns=list(arm.runs[0].metrics))
    diverged = int(arm.diverged.sum())
    row: dict[str, Any] = {"arm": arm.name, "runs": len(arm.runs), "complete": len(arm.runs) - diverged, "diverged": diverged}
    for column in RESULT_COLUMNS:
        row[column] = float(last[column].mean())
        row[f"{column}_std"] = float(last[column].std(ddof=1))
    epochs = pd.concat([run.metrics for run in arm.runs])
    row["grad_norm_median"] = float(epochs["grad_norm_median"].median())
    row["grad_norm_max"] = float(epochs["grad_norm_max"].max())
    row["clipped_fraction"] = float(epochs["clipped_fraction"].mean())
    return row


def _added_seeds(arms: Sequence[Arm], first: Looks, plan: Plan | None) -> list[str]:
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


def planning_sentence(comparison: Comparison) -> str | None:
    """What these seeds can detect, from the spread seen; None where nothing can be planned from."""
    tested = [report.against for report in comparison.others if report.against and report.against.verdict != "not testable"]
    planned = [against for against in tested if math.isfinite(against.detectable_effect)]
    if not planned:
        return None
    metric = comparison.metric
    widest = max(planned, key=lambda against: against.detectable_effect)
    if not widest.detectable_effect:
        return "The differences are the same on every seed, so there is no spread to plan further seeds from."
    return (
        f"With this spread, {len(widest.seeds)} seeds detect a difference of {amount(widest.detectable_effect, metric)} "
        f"with 80% power; one of {comparison.effect:g} {unit(comparison.effect, metric)} needs {widest.seeds_needed} seeds."
    )


def scope_sentence(comparison: Comparison) -> str:
    """What a verdict here speaks about."""
    split = comparison.baseline.arm.evaluation_split
    family = counted(sum(report.against is not None for report in comparison.others), "comparison")
    return (
        f"Verdicts speak of these seeds, this model and this {split} set. p-values are Holm-adjusted over {family}; "
        "intervals are not adjusted."
    )
