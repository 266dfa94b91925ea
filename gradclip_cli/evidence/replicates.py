"""Replicates: stored arms whose configs differ in the perturbation alone, so that runs of one seed differ by rounding only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.config.seeds import seed_list
from gradclip_cli.config.studies import PERTURBATION
from gradclip_cli.errors import ReportError, StoreError
from gradclip_cli.evidence.arms import NOT_TRAINED_BY, Arm, read_arms
from gradclip_cli.evidence.sentences import some_of
from gradclip_cli.runs.store import runs

PERTURBED = f"{PERTURBATION}=1e-6"


def are_replicates(one: Config, other: Config) -> bool:
    """Whether two configs differ in their perturbations, and in nothing else but name and seed."""
    return _differing(one, other) == {PERTURBATION}


def _differing(one: Config, other: Config) -> set[str]:
    return {key for key, *_ in loading.differences(one, other)} - NOT_TRAINED_BY


def with_replicates(arms: Sequence[Arm], results: Path) -> tuple[list[Arm], list[str]]:
    """Arms with those stored beside them that are their replicates, and a warning for each run of these that can't be read.

    An arm that replicates another one of them is no arm of its own here. Raises ReportError as `read_arms` does.
    """
    heads = _heads(arms)
    configs = _stored_configs(results)
    names = {arm.name: [name for name, config in configs.items() if are_replicates(arm.config, config)] for arm in heads}
    wanted = list(dict.fromkeys(name for found in names.values() for name in found))
    read, warnings = read_arms(results, wanted) if wanted else ([], [])
    known = {arm.name: arm for arm in read}
    return [_repeated(arm, [known[name] for name in names[arm.name] if name in known]) for arm in heads], warnings


def _heads(arms: Sequence[Arm]) -> list[Arm]:
    """Of each family of replicates the least perturbed arm, in the order given."""
    heads: list[Arm] = []
    for arm in sorted(arms, key=_perturbation):
        if not any(are_replicates(head.config, arm.config) for head in heads):
            heads.append(arm)
    return [arm for arm in arms if arm in heads]


def _perturbation(arm: Arm) -> float:
    return arm.config.model.perturbation


def _stored_configs(results: Path) -> dict[str, Config]:
    """Each stored arm's config, by the first of its runs that has one to be read."""
    configs: dict[str, Config] = {}
    for directory in runs(results):
        if directory.arm not in configs:
            try:
                configs[directory.arm] = directory.config()
            except StoreError:
                continue  # whoever reads its runs tells
    return configs


def _repeated(arm: Arm, replicates: Sequence[Arm]) -> Arm:
    """The arm with its replicates, the least perturbed first; of two that are perturbed alike, which ran alike, the first."""
    by_perturbation: dict[float, Arm] = {}
    for each in replicates:
        by_perturbation.setdefault(_perturbation(each), each)
    ordered = [by_perturbation[value].only(arm.seeds) for value in sorted(by_perturbation)]
    return replace(arm, replicates=tuple(each for each in ordered if each.runs))


def evened(arms: Sequence[Arm]) -> list[Arm]:
    """Arms with the seeds alone that have replicates, and on each as many runs in every arm that has it.

    A standard deviation of fewer runs is smaller on average: arms with more would seem to be worse. Raises ReportError where an
    arm has no replicates.
    """
    counts = [_repeats(arm) for arm in arms]
    if alone := [arm for arm, repeats in zip(arms, counts, strict=True) if not repeats]:
        raise ReportError(_not_repeated(alone))
    fewest = {seed: min(found[seed] for found in counts if seed in found) for repeats in counts for seed in repeats}
    return [_with_so_many(arm.only(repeats), fewest) for arm, repeats in zip(arms, counts, strict=True)]


def _repeats(arm: Arm) -> dict[int, int]:
    """By seed: how many replicates have it, where any has."""
    counts = {seed: sum(seed in each.seeds for each in arm.replicates) for seed in arm.seeds}
    return {seed: count for seed, count in counts.items() if count}


def _with_so_many(arm: Arm, most: dict[int, int]) -> Arm:
    """The arm with the first of its replicates on each seed, so many of them."""
    left, kept = {seed: most[seed] for seed in arm.seeds}, []
    for each in arm.replicates:
        there = [seed for seed in each.seeds if left[seed]]
        left |= {seed: left[seed] - 1 for seed in there}
        kept.append(each.only(there))
    return replace(arm, replicates=tuple(each for each in kept if each.runs))


def _not_repeated(arms: Sequence[Arm]) -> str:
    first, seeds = arms[0], seed_list(arms[0].seeds).replace(" ", "")
    return (
        f"{some_of([arm.name for arm in arms])} {'has' if len(arms) == 1 else 'have'} no replicates: runs of the same seeds "
        f"that differ in {PERTURBATION} only. gradclip run {_config_of(first)} --set {PERTURBED} --seeds {seeds} makes some, "
        "stored as another arm, which has to stand in the same results folder."
    )


def _config_of(arm: Arm) -> str:
    """The name by which the arm's config can be run; CONFIG where it isn't plain."""
    plain = arm.name in loading.shipped_names() and not _differing(loading.load(arm.name), arm.config)
    return arm.name if plain else "CONFIG"


def repeat_notes(arms: Sequence[Arm], evened_arms: Sequence[Arm]) -> list[str]:
    """What a reader must know of arms with their replicates, and of what is left of them where they are evened."""
    notes = []
    for arm, kept in zip(arms, evened_arms, strict=True):
        others = ", ".join(f"{each.name} ({PERTURBATION} {_perturbation(each):g})" for each in kept.replicates)
        notes.append(f"{arm.name} is repeated by {others}: these runs count with its own.")
        if without := sorted(set(arm.seeds) - set(kept.seeds)):
            notes.append(f"{arm.name}: seeds {seed_list(without)} have no replicate and don't count.")
        if lost := _lost_throughout(kept):
            notes.append(f"{arm.name}: all runs of seeds {seed_list(lost)} diverged, so that they agree.")
    return notes


def _lost_throughout(arm: Arm) -> list[int]:
    finished = {run.seed for each in (arm, *arm.replicates) for run in each.runs if not run.diverged}
    return [seed for seed in arm.seeds if seed not in finished]
