"""Removing runs: all is looked at before anything is deleted, and nothing outside the results folder is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradclip_cli.errors import BusyError, ConflictError
from gradclip_cli.runs.store import RunDirectory
from gradclip_cli.runs.summaries import Summary


@dataclass(frozen=True)
class Removal:
    """One thing to remove: a run, or a link in an arm's or a run's place, whose target stays."""

    path: Path
    run: RunDirectory | None
    """None for an arm's folder that is a link."""

    @property
    def results(self) -> Path:
        """The folder that it is removed from."""
        return self.path.parent.parent if self.run else self.path.parent

    @property
    def description(self) -> str:
        """What it is, such as `complete`."""
        if self.path.is_symlink():
            return f"a link; what it points to stays: {self.path.readlink()}"
        return self.run.status() if self.run else ""


def plan(runs: Sequence[RunDirectory], whole_arms: Sequence[str]) -> list[Removal]:
    """What is to be removed for these runs; `whole_arms` names the arms of which all are wanted.

    Raises ConflictError for a run in an arm's folder that is a link: it stands outside the results folder.
    """
    removals: dict[Path, Removal] = {}
    for run in runs:
        arm = run.path.parent
        if not arm.is_symlink():
            removals[run.path] = Removal(run.path, run)
        elif run.arm in whole_arms:
            removals[arm] = Removal(arm, None)
        else:
            there = arm.resolve()
            raise ConflictError(
                f"{run.path}: {arm} is a link to {there}, and nothing is removed behind a link. Remove the link (gradclip rm "
                f"{run.arm}), or the run where it is (gradclip rm {there.name}/{run.path.name} --results {there.parent})"
            )
    return list(removals.values())


def carry_out(removals: Sequence[Removal]) -> list[str]:
    """Remove all of it, and return a sentence for each folder that stays because of what else is in it.

    Raises BusyError, before anything is removed, where one of the runs is being trained.
    """
    busy = [each for each in removals if each.run and not each.path.is_symlink() and _is_busy(each.run)]
    if busy:
        paths = ", ".join(str(each.path) for each in busy)
        raise BusyError(f"{paths}: another gradclip process is training this run; nothing was removed. Wait for it or stop it")
    kept = []
    for each in removals:
        if each.run is None:
            each.path.unlink()
        elif left := each.run.remove():
            kept.append(f"{each.path}: kept, for it holds what is not gradclip's: {', '.join(left)}")
    for results in {each.results for each in removals}:
        Summary.read(results).forget_removed()
    return kept


def _is_busy(run: RunDirectory) -> bool:
    try:
        with run.locked():
            return False
    except BusyError:
        return True
