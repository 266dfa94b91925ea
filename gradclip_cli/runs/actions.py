"""What is to be done with a run's directory. Asked when runs are planned, and again under the run's lock before it is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gradclip_cli.config import loading
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConflictError, NewerSchemaError, StoreError
from gradclip_cli.runs.metadata import FINISHED, Status
from gradclip_cli.runs.store import RunDirectory, some_runs_of


class Action(StrEnum):
    """What is done with a run's directory."""

    TRAIN = "train"
    RESUME = "resume"
    REPLACE = "replace"
    SKIP = "skip"


@dataclass(frozen=True)
class Decision:
    """What is to be done, and why."""

    action: Action
    reason: str


def decide(config: Config, directory: RunDirectory, *, force: bool = False) -> Decision:
    """Say what is to be done so that the directory ends with this config's run, writing nothing.

    Raises ConflictError where that would replace another config's run, or cost somebody a file.
    """
    _require_a_folder_of_its_own(directory)
    status = directory.status()
    if force:
        return Decision(Action.TRAIN if status == Status.NONE else Action.REPLACE, f"--force, was: {status}")
    _require_nothing_foreign(directory, status)
    try:
        stored = _stored_config(directory, status)
    except ConflictError:
        raise
    except StoreError as error:
        return _decide_on_damaged(config, directory, status, error)
    if stored is None:
        _require_like_the_others(config, directory)
    differences = loading.differences(stored.planned.with_seed(config.training.seed), config.planned) if stored else []
    if status == Status.COMPLETE and _only_longer(differences) and directory.checkpoint_path.exists():
        _, there, here = differences[0]
        return Decision(Action.RESUME, f"goes on from {there} to {here} epochs")
    if differences:
        hint = "give yours another name, or replace the run with --force"
        raise ConflictError(f"{directory.path}: holds another config ({_described(differences)})", hint)
    return Decision(Action.SKIP, f"already {status}") if status in FINISHED else _decide_on_unfinished(directory, status)


def _require_a_folder_of_its_own(directory: RunDirectory) -> None:
    if directory.path.is_symlink():
        raise ConflictError(f"{directory.path}: is a link; a run is trained into a folder of its own: remove the link first")
    if directory.path.exists() and not directory.path.is_dir():
        raise ConflictError(f"{directory.path}: is no folder, so no run can be stored there; move it away")


def _require_nothing_foreign(directory: RunDirectory, status: Status) -> None:
    if status == Status.NONE and (foreign := directory.foreign_files()):
        shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise ConflictError(f"{directory.path}: is no run, but holds {shown}: move that, or give your config another name")


def _decide_on_damaged(config: Config, directory: RunDirectory, status: Status, error: StoreError) -> Decision:
    """What to do with a run that can't be read: only an unfinished one is touched. Raises ConflictError for others."""
    if status not in FINISHED and _can_go_on(config, directory):
        return Decision(Action.RESUME, "damaged before it was finished: goes on from its checkpoint")
    if status not in FINISHED and not os.path.lexists(directory.config_path):
        return Decision(Action.REPLACE, f"{status} before its config was written: starts over")
    raise ConflictError(f"{error}. Replace the run with --force, or remove it with gradclip rm") from None


def _decide_on_unfinished(directory: RunDirectory, status: Status) -> Decision:
    """What to do with a run of this config, or where there is none yet."""
    can_go_on = directory.checkpoint_path.exists()
    if status == Status.NONE and not can_go_on:
        return Decision(Action.TRAIN, "new")
    was = {Status.NONE: "without its run.json", Status.UNREADABLE: "its run.json can't be read"}
    reason = was.get(status, f"{status} before it was finished")
    if can_go_on:
        return Decision(Action.RESUME, f"{reason}: goes on from its checkpoint")
    return Decision(Action.REPLACE, f"{reason}: starts over")


def _stored_config(directory: RunDirectory, status: Status) -> Config | None:
    """The config of the run that is there; None where there is none. Raises StoreError where it can't be read."""
    if status == Status.UNREADABLE:
        _refuse_newer(directory)
        return directory.config()
    if status != Status.NONE:
        return directory.stored()[1]
    return directory.config() if directory.config_path.exists() else None


def _refuse_newer(directory: RunDirectory) -> None:
    """What a newer gradclip wrote is whole, though it can't be read here. Raises ConflictError."""
    try:
        directory.metadata()
    except NewerSchemaError as error:
        raise ConflictError(str(error)) from None
    except StoreError:
        return


def _require_like_the_others(config: Config, directory: RunDirectory) -> None:
    """An arm's runs differ in nothing but the seed. Raises ConflictError where another of its runs says otherwise."""
    for run in some_runs_of(directory.path.parent):
        try:
            stored = run.config()
        except StoreError:
            continue
        if differences := loading.differences(stored.planned.with_seed(config.training.seed), config.planned):
            raise ConflictError(
                f"{run.path}: holds another config ({_described(differences)}), and an arm's runs differ in nothing but the seed",
                hint="give yours another name, or replace that run with --force",
            )
        return


def _described(differences: Sequence[tuple[str, Any, Any]]) -> str:
    return "; ".join(_difference(*each) for each in differences)


def _difference(key: str, there: Any, here: Any) -> str:
    if key.endswith(".source_sha256"):
        return f"the code behind its {key.partition('.')[0]} has changed"
    if key.startswith("sources.") and there and here:
        return f"{key.removeprefix('sources.')} has changed"
    return f"{key}: {there} there, {here} here"


def _only_longer(differences: Sequence[tuple[str, Any, Any]]) -> bool:
    """Whether all that a config changes is to train longer."""
    return len(differences) == 1 and differences[0][0] == "training.epochs" and differences[0][2] > differences[0][1]


def _can_go_on(config: Config, directory: RunDirectory) -> bool:
    try:
        return directory.read_checkpoint(config) is not None
    except StoreError:
        return False
