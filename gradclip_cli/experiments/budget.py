"""How long a trial takes, and how many seeds fit into a time: fixed before training, never the length of a run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from gradclip_cli.evidence.samples import seeds_for_a_verdict
from gradclip_cli.experiments.check import Checked
from gradclip_cli.experiments.check_report import duration
from gradclip_cli.runs.actions import Action
from gradclip_cli.runs.many import Result
from gradclip_cli.runs.metadata import Status
from gradclip_cli.texts import counted

MOST_SEEDS = 1000
TOLD_ABOVE = 1.5
"""Times the budget above which it is told what took so long."""
SLOWER = 1.2
"""Times the expected time of a run from which the machine is called slower."""


@dataclass(frozen=True)
class Affordable:
    """How many seeds fit, and what that means, as a sentence."""

    seeds: int
    sentence: str


def affordable_seeds(checked: Checked, seconds: float, *, arms: int, workers: int) -> Affordable:
    """How many seeds of so many arms fit into some seconds, at the pace that was measured here: at least one."""

    def takes(seeds: int) -> float:
        return checked.seconds(seeds * arms, arms=arms, workers=workers)

    fitting = [seeds for seeds in range(1, MOST_SEEDS + 1) if takes(seeds) <= seconds]
    seeds, needed = max(fitting, default=1), seeds_for_a_verdict(arms - 1)
    time = duration(takes(seeds))
    if not fitting:
        return Affordable(1, f"Not even one seed fits into {seconds:.0f} seconds: one takes {time}, and is trained all the same.")
    enough = "" if seeds >= needed else f"; a verdict takes {counted(needed, 'seed')}, {duration(takes(needed))}"
    return Affordable(seeds, f"{counted(seeds, 'seed')} of {counted(arms, 'arm')} fit: {time}{enough}.")


def overrun(checked: Checked, budget: float, took: float, ended: Sequence[Result], *, workers: int) -> str:
    """Where training took much longer than its budget, in seconds: how much, and a run's pace then and now. Else empty."""
    trained = [result for result in ended if result.status == Status.COMPLETE and result.run.action != Action.SKIP]
    arms = len({result.run.config.name for result in trained})
    if not trained or took <= TOLD_ABOVE * max(budget, checked.seconds(len(trained), arms=arms, workers=workers)):
        return ""  # where not even one seed fitted, that was told
    all_compile = len(trained) <= arms * workers  # each run is a worker's first of its arm
    before = checked.a_run + (checked.pace.compilation if all_compile else 0.0)
    now = statistics.median(result.seconds for result in trained)
    why = "the machine was slower than then" if now > SLOWER * before else "starting and compiling took longer than then"
    times = f"{took:.0f} seconds, {took / budget:.1f} times the budget of {budget:.0f}"
    paces = f"a run took {now:.3g} seconds, and {before:.3g} at the pace that was measured before"
    return f"Training took {times}: {paces}, so {why}."
