"""Where a run is recorded, and whether it may be recorded there."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from gradclip_cli.config.schema import ARM_NAME
from gradclip_cli.errors import ConflictError, StoreError
from gradclip_cli.files import writing
from gradclip_cli.runs.metadata import FINISHED, Status
from gradclip_cli.runs.store import RUN_VARIABLE, RunDirectory


class Place:
    """Where a run is recorded: its folder, and whether the caller named its seed."""

    def __init__(self, folder: str | os.PathLike[str] | None, seed: int | None = None) -> None:
        """In `results/ARM/seed-N`, or in `results/ARM` with a seed, or there with the next number that is free.

        A script that gradclip started is recorded where it was told to be. Raises ValueError for a folder that can't be an arm's.
        """
        started = os.environ.get(RUN_VARIABLE)
        if started is None and folder is None:
            raise ValueError("say where to record, such as Recorder('results/mine/seed-0')")
        self.started = started is not None
        path = Path(started or str(folder)).absolute()
        named = re.fullmatch(r"seed-(0|[1-9][0-9]*)", path.name)
        self.seed = int(named[1]) if named else seed
        self.arm = path.parent if named else path
        if named and seed not in (None, self.seed) and not self.started:
            raise ValueError(f"{path} is the folder of seed {self.seed}, not of seed {seed}")
        if not re.fullmatch(ARM_NAME, self.arm.name):
            raise ValueError(f"{self.arm.name!r} can't be an arm's name: letters, digits and . _ + = , - only")

    @property
    def seed_named(self) -> bool:
        """Whether somebody said which seed it is: only such runs can be paired."""
        return self.seed is not None

    def directory(self) -> RunDirectory:
        """The run's directory. Raises StoreError."""
        if self.seed is not None:
            return RunDirectory.of(self.arm.parent, self.arm.name, self.seed)
        return next(run for number in itertools.count() if not (run := self._numbered(number)).path.exists() and not run.packed)

    def _numbered(self, number: int) -> RunDirectory:
        return RunDirectory.of(self.arm.parent, self.arm.name, number)


def require_free(directory: RunDirectory, *, replace: bool) -> None:
    """Raises StoreError where recording there would cost somebody something."""
    status = directory.status()
    if directory.packed:
        raise ConflictError(f"{directory.path}: is packed", hint="choose another folder, or gradclip unpack first")
    if status == Status.NONE and (foreign := directory.foreign_files()):
        raise ConflictError(f"{directory.path}: is no run, but holds {', '.join(foreign[:3])}", hint="choose another folder")
    if status == Status.NONE:
        return
    try:
        ours = bool(directory.metadata().get("recorded"))
    except StoreError:
        ours = False
    if not ours:
        raise ConflictError(f"{directory.path}: holds a run that gradclip trained", hint="choose another folder")
    if status in FINISHED and not replace:
        raise ConflictError(f"{directory.path}: holds a {status} run", hint="replace=True replaces it; or choose another folder")


def take(directory: RunDirectory) -> None:
    """Make a script's run this recorder's. Raises StoreError where another one has taken it."""
    try:
        with writing(directory.steps_path), open(directory.steps_path, "x"):
            pass
    except StoreError:
        if directory.has("steps.csv"):
            hint = "a command trains one run: let one recorder watch it, and start others by commands of their own"
            raise ConflictError(f"{directory.path}: another recorder records this run already", hint=hint) from None
        raise
