"""How many seeds fit into a time, fixed before training: never the length of a run, which would be another question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradclip_cli.config.schema import Config
from gradclip_cli.evidence.samples import seeds_for_a_verdict
from gradclip_cli.runs import pace
from gradclip_cli.runs.actions import Action
from gradclip_cli.runs.many import PlannedRun
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.trainers import Way
from gradclip_cli.texts import counted

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Affordable:
    """How many seeds fit, and what that means, as a sentence."""

    seeds: int
    sentence: str


def affordable_seeds(configs: Sequence[Config], seconds: float, way: Way, report: Callable[[str], None]) -> Affordable:
    """Measure how long a step takes here, and say how many seeds of all arms fit into some seconds: at least one."""
    paces = pace.measure_paces(_planned(configs, 1), report)

    def takes(seeds: int) -> float:
        return pace.estimate(_planned(configs, seeds), paces, jobs=way.at_once, cores=way.cores).most

    fitting = [seeds for seeds in range(1, MOST_SEEDS + 1) if takes(seeds) <= seconds] if takes(1) <= seconds else []
    seeds, needed = max(fitting, default=1), seeds_for_a_verdict(len(configs) - 1)
    time = f"about {takes(seeds):.0f} seconds"
    if not fitting:
        return Affordable(1, f"Not even one seed fits into {seconds:.0f} seconds: one takes {time}, and is trained all the same.")
    enough = "" if seeds >= needed else f"; a verdict takes {needed}, {takes(needed):.0f} seconds"
    return Affordable(seeds, f"{counted(seeds, 'seed')} of {counted(len(configs), 'arm')} fit: {time}{enough}.")


def _planned(configs: Sequence[Config], seeds: int) -> list[PlannedRun]:
    nowhere = RunDirectory(Path())
    return [PlannedRun(config, nowhere, Action.TRAIN, "") for config in configs for _ in range(seeds)]
