"""Arms against a baseline, paired by seed: scores, differences, verdicts, and the sentences that say them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradclip_cli import arms as arm_room
from gradclip_cli import stats
from gradclip_cli.arms import Arm
from gradclip_cli.errors import ReportError
from gradclip_cli.metrics import METRICS, Metric, amount, counted, default_target_loss, scores, told, told_p, unit

FloatArray = npt.NDArray[np.floating[Any]]

RESULT_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")


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
    first_compared: dict[str, list[int]]

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
    seeds: Sequence[int] | None = None,
    out: Path | None = None,
) -> Comparison:
    """Read the finished runs of these arms (all without `names`) and compare them as `compare_arms` does.

    With `seeds`, only runs of these seeds count. `out` is where an earlier comparison may stand, whose seeds count as
    seen. Raises ReportError where nothing is left or an arm isn't there, and as `compare_arms` does.
    """
    arms, warnings = arm_room.read(results, names)
    if seeds is not None:
        arms = [arm for whole in arms if (arm := whole.only(seeds)).runs]
    compared = compare_arms(arms, baseline, metric=metric, target_loss=target_loss, effect=effect, margin=margin)
    ordered = [part.arm for part in compared.arms]
    first = _first_compared(out or results, ordered)
    return replace(
        compared,
        notes=(*compared.notes, *_added_seeds(results, ordered, first)),
        warnings=(*warnings, *compared.warnings),
        first_compared=first,
    )


def compare_arms(
    arms: Sequence[Arm],
    baseline: str | None = None,
    *,
    metric: str = "val_accuracy",
    target_loss: float | None = None,
    effect: float | None = None,
    margin: float | None = None,
) -> Comparison:
    """Compare arms with the baseline (`none`, else the first), paired by seed.

    `effect` and `margin` are in the metric's unit as told. Raises ReportError where the baseline isn't among the arms, or
    the metric can't be compared between them.
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
    chosen = baseline or ("none" if any(arm.name == "none" for arm in arms) else arms[0].name)
    base = next((arm for arm in arms if arm.name == chosen), None)
    if base is None:
        raise ReportError(f"No arm '{chosen}' to compare with. There are: {', '.join(arm.name for arm in arms)}")
    return [base, *(arm for arm in arms if arm is not base)]


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
        _judged(against, next(adjusted), arm.name, base.name, metric, margin) if against else None
        for arm, against in zip(others, paired, strict=True)
    ]
    reports = [_report(arm, metric, target, against) for arm, against in zip(arms, [None, *judged], strict=True)]
    return reports, [note for arm in others if (note := _unshared(base, arm))]


def _pair(base: Arm, arm: Arm, metric: Metric, target: float, effect: float, margin: float | None, tests: int) -> AgainstBaseline:
    differences = (scores(arm, metric, target) - scores(base, metric, target)) * metric.scale
    result = stats.compare_pairs(differences)
    better, worse = (result.positive, result.negative) if metric.higher_is_better else (result.negative, result.positive)
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else math.inf
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
        equivalent=stats.is_equivalent(result, margin) if margin is not None else None,
    )


def _judged(against: AgainstBaseline, p: float, arm: str, base: str, metric: Metric, margin: float | None) -> AgainstBaseline:
    if against.smallest_p >= stats.LEVEL:
        verdict = "exploratory"
    elif p < stats.LEVEL:
        verdict = "helps" if (against.mean > 0) == metric.higher_is_better else "hurts"
    else:
        verdict = "equivalent" if against.equivalent else "no difference shown"
    judged = replace(against, p_adjusted=p, verdict=verdict)
    return replace(judged, sentence=_sentence(judged, arm, base, metric, margin))


def _sentence(against: AgainstBaseline, arm: str, base: str, metric: Metric, margin: float | None) -> str:
    """One comparison in plain words, claiming no more than its test."""
    seeds = len(against.seeds)
    change = f"{'raised' if against.mean > 0 else 'lowered'} {metric.told} by {amount(abs(against.mean), metric)}"
    interval = f"95% interval {told(against.low, metric)} to {told(against.high, metric)}"
    facts = f"better on {against.won} of {counted(seeds, 'seed')}; p = {told_p(against.p_adjusted)}"
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


def _first_compared(folder: Path, arms: Sequence[Arm]) -> dict[str, list[int]]:
    """The seeds of each arm at the first comparison that was written to this folder, this one included."""
    try:
        earlier = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))["first_compared"]
    except (OSError, ValueError, KeyError, TypeError):
        earlier = {}
    return {**{arm.name: arm.seeds for arm in arms}, **earlier}


def _added_seeds(results: Path, arms: Sequence[Arm], first: dict[str, list[int]]) -> list[str]:
    planned = planned_seeds(results)
    notes = []
    for arm in arms:
        added = sorted(set(arm.seeds) - set(first[arm.name]) - set(planned))
        if added:
            notes.append(
                f"{arm.name}: seeds {seed_list(added)} were added after a comparison; their p-values are not those of a plan."
            )
    return notes


def planned_seeds(results: Path) -> list[int]:
    """The seeds that an experiment in this folder planned before it started; none where there is no plan."""
    try:
        return [int(seed) for seed in json.loads((results / "experiment.json").read_text(encoding="utf-8"))["seeds"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def planning_sentence(comparison: Comparison) -> str | None:
    """What these seeds can detect, from the spread seen; None where nothing can be planned from."""
    plans = [report.against for report in comparison.others if report.against and math.isfinite(report.against.detectable_effect)]
    if not plans:
        return None
    metric = comparison.metric
    widest = max(plans, key=lambda against: against.detectable_effect)
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
