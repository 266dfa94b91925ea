"""How many seeds fit into a time, fixed before training: never the length of a run, which would be another question."""

from __future__ import annotations

from dataclasses import dataclass

from gradclip_cli.evidence.samples import seeds_for_a_verdict
from gradclip_cli.experiments.check import Checked
from gradclip_cli.texts import counted

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Affordable:
    """How many seeds fit, and what that means, as a sentence."""

    seeds: int
    sentence: str


def affordable_seeds(checked: Checked, seconds: float, *, arms: int, workers: int) -> Affordable:
    """How many seeds of so many arms fit into some seconds, at the pace that was measured here: at least one."""

    def takes(seeds: int) -> float:
        return checked.seconds(seeds, arms=arms, workers=workers)

    fitting = [seeds for seeds in range(1, MOST_SEEDS + 1) if takes(seeds) <= seconds]
    seeds, needed = max(fitting, default=1), seeds_for_a_verdict(arms - 1)
    time = f"about {takes(seeds):.0f} seconds"
    if not fitting:
        return Affordable(1, f"Not even one seed fits into {seconds:.0f} seconds: one takes {time}, and is trained all the same.")
    enough = "" if seeds >= needed else f"; a verdict takes {counted(needed, 'seed')}, about {takes(needed):.0f} seconds"
    return Affordable(seeds, f"{counted(seeds, 'seed')} of {counted(arms, 'arm')} fit: {time}{enough}.")
