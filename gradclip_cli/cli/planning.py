"""What commands that train say before they begin: the plan, how long it takes, and what the user may not expect of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradclip_cli.cli.execution import fitting
from gradclip_cli.cli.options import print_json, remark, run_facts
from gradclip_cli.texts import counted

if TYPE_CHECKING:
    from gradclip_cli.config.loading import Loaded
    from gradclip_cli.runs.many import PlannedRun
    from gradclip_cli.runs.pace import Pace
    from gradclip_cli.runs.trainers import Way


def say_resets(loaded: Loaded) -> None:
    """Say what another choice made by --set resets of what the config says."""
    for reset in loaded.resets:
        remark(f"{loaded.config.name}: {reset}", sentence=True)


def say_too_few_seeds(planned: Sequence[PlannedRun]) -> None:
    """Say where these arms have too few seeds for a verdict, with the stored ones."""
    seeds = _seeds(planned)
    if len(seeds) < 2:
        return

    from gradclip_cli.evidence import samples

    tests, shared = len(seeds) - 1, len(set.intersection(*seeds))
    needed = samples.seeds_for_a_verdict(tests)
    if shared < needed:
        enough = f"{counted(tests, 'comparison')} at least {needed} (--seeds {needed})"
        remark(f"Verdicts need more seeds: {enough}, and these arms share {shared}.", sentence=True)


def _seeds(planned: Sequence[PlannedRun]) -> list[set[int]]:
    """The seeds that each arm will have."""
    from gradclip_cli.runs import store

    seeds: dict[Path, set[int]] = {}
    for run in planned:
        folder = run.directory.path.parent
        seeds.setdefault(folder, {stored.seed for stored in store.runs_of(folder)}).add(run.config.training.seed)
    return list(seeds.values())


def estimate(planned: Sequence[PlannedRun], way: Way, paces: Mapping[str, Pace] | None = None) -> str:
    """How many runs are to train, and the time and room that they take, by what was measured here where it was."""
    from gradclip_cli.runs import many, pace
    from gradclip_cli.runs.actions import Action

    way, _ = fitting(planned, way)
    expected = pace.estimate(planned, paces, jobs=way.at_once, cores=way.cores)
    todo = [run for run in planned if run.action != Action.SKIP]
    if not todo:
        return "The run is finished." if len(planned) == 1 else f"All {len(planned)} runs are finished."
    scripts = sum(map(many.is_script, todo))
    to_train = f"{len(todo)} of {counted(len(planned), 'run')} to train"
    if scripts == len(todo):
        return f"{to_train}; how long a script takes, only a run of it tells."
    duration, size = _duration(expected.least, expected.most), f"{expected.size / 1e6:.0f} MB"
    more = f", without {counted(scripts, 'run')} of scripts" if scripts else ""
    return f"{to_train}: {duration} and {size}{more}."


def _duration(least: float, most: float) -> str:
    """A range where its ends differ by a fifth or more."""
    divisor, unit = (60, "minutes") if most >= 90 else (1, "seconds")
    low, high = f"{least / divisor:.0f}", f"{most / divisor:.0f}"
    return f"about {low} to {high} {unit}" if most >= 1.2 * least and low != high else f"about {high} {unit}"


def print_plan(planned: Sequence[PlannedRun], as_json: bool, *, by_arm: bool = False, **notes: Any) -> None:
    """Print what is to be done with each run and why (`by_arm`: a line for all runs of an arm alike), with `notes` for JSON."""
    if as_json:
        runs = [{**run_facts(run.directory), "action": run.action, "reason": run.reason} for run in planned]
        print_json({"runs": runs, **notes})
        return
    from gradclip_cli.cli.console import tell

    if not by_arm:
        for run in planned:
            tell(f"{run.action:8} {run.directory.path}  ({run.reason})")
        return
    from gradclip_cli.config.seeds import named_seeds

    alike: dict[tuple[str, Path, str], list[int]] = {}
    for run in planned:
        alike.setdefault((run.action, run.directory.path.parent, run.reason), []).append(run.config.training.seed)
    for (action, arm, reason), seeds in alike.items():
        tell(f"{action:8} {arm}, {named_seeds(seeds)}  ({reason})")
