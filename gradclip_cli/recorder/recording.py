"""A run's directory, written while somebody else's loop trains. Whatever happens here, that training goes on."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli.arrays import BoolArray
from gradclip_cli.config.recorded import (
    RecordedConfig,
    RecordedTraining,
)
from gradclip_cli.errors import ConflictError
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.health import Detector, Diagnosis
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.recorder import words
from gradclip_cli.recorder.epochs import EpochNorms, metrics_row
from gradclip_cli.recorder.places import Place, require_free, take
from gradclip_cli.recorder.seen import Seen
from gradclip_cli.runs.csv_files import EVALUATED
from gradclip_cli.runs.endings import ending_facts, now
from gradclip_cli.runs.metadata import FINISHED, Status
from gradclip_cli.runs.provenance import provenance_of
from gradclip_cli.runs.steps import step_rows
from gradclip_cli.runs.store import UNRECORDED, RunDirectory
from gradclip_cli.runs.tally import Divergence, StepCounts
from gradclip_cli.texts import LOWER_IS_BETTER

WRITTEN_EVERY = 5.0  # seconds, while steps go on
MOST_WAITING = 50_000
"""Steps times variables that wait to be written: some 2 MB."""
DIAGNOSED = 200_000
"""Steps up to which a run's health is read when it ends; `gradclip show` reads that of any run."""
ROWS = 5000
_UNFINISHED: dict[Path, Recording] = {}
"""What this process is recording, by folder: a loop that is broken off tells nobody, and may begin anew."""


def _safely(method: Callable[..., None]) -> Callable[..., None]:
    """A method that does nothing once recording has failed, and never raises."""

    @functools.wraps(method)
    def safe(self: Recording, *args: Any, **kwargs: Any) -> None:
        if self.failed:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.give_up(error)

    return safe


class Recording:
    """One run as it is recorded. Nothing is written before `begin`; nothing raises."""

    def __init__(self, place: Place, *, every: int = 1, replace: bool = False) -> None:
        """`every` is of how many steps one is recorded; `replace` allows a finished recording in the same place to go."""
        self._place, self._every, self._replace = place, every, replace
        self._held = contextlib.ExitStack()
        self._process = os.getpid()
        self.failed = self.begun = self._opened = False
        self._said = place.started  # of a script that gradclip started, gradclip says where its run is
        self.steps = 0
        """Optimizer steps so far, recorded or not."""
        self.before_leaving: Callable[[], None] = lambda: None
        """What a recorder does when the process ends before the loop says so: it gives the steps that it still holds."""

    # What the loop tells

    @_safely
    def begin(self, seen: Seen) -> None:
        """The loop begins, or another that goes on where the last one ended: then it is one run."""
        if self._opened:
            self._reopen(seen)
            return
        directory = self._place.directory()
        self._occupy(directory)
        config = directory.config() if self._place.started else RecordedConfig(name=directory.arm)
        assert isinstance(config, RecordedConfig)
        training = RecordedTraining(seed=directory.seed)
        self._config = config.model_copy(update={**seen.sections, "training": training})
        self._seen, self._directory = seen, directory
        self._counts, self._epoch = StepCounts(self._config, seen.variables, self._every), EpochNorms()
        self._rows: list[dict[str, float]] = []
        self._pending: list[StepRecords] = []
        self._divergence: Divergence | None = None
        self._written = self._clock = time.perf_counter()
        self._higher: dict[str, bool] = {}
        self._evaluated, self._written_rows = False, 0
        self._columns: tuple[str, ...] = ()
        self._facts = self._first_facts(seen, directory)
        begin = directory.begin if self._place.started else directory.start_recording
        begin(self._config, {**self._facts, **self._scores})
        directory.begin_steps(seen.variables, self._facts)
        self.begun = self._opened = True
        _UNFINISHED[directory.path] = self

    def _first_facts(self, seen: Seen, directory: RunDirectory) -> dict[str, Any]:
        """What `run.json` says from the beginning on."""
        return {
            "arm": directory.arm,
            "seed": directory.seed,
            "started": now(),
            "recorded": True,
            "seed_named": self._place.seed_named,
            "every": self._every,
            "counts_correct": False,
            "chance": {},
            "variables": list(seen.variables),
            **seen.facts,
            **provenance_of(seen.packages),
        }

    def _occupy(self, directory: RunDirectory) -> None:
        """Make a directory this recording's. Raises StoreError where that would cost somebody something."""
        if self._place.started:
            take(directory)
            return
        if earlier := _UNFINISHED.get(directory.path):
            earlier._said = True
            earlier.abandoned("another recording began in its place")
        self._held.enter_context(directory.locked())
        require_free(directory, replace=self._replace)
        if (status := directory.status()) not in (*FINISHED, Status.NONE):
            words.warn(words.replaced(directory.path, status))

    def _reopen(self, seen: Seen) -> None:
        """Go on with what was finished. Raises ConflictError where another model is trained now."""
        if seen.variables != self._seen.variables:
            raise ConflictError(
                f"{self._directory.path}: holds a run of other variables", "give each model a recorder of its own"
            )
        if not self._place.started:
            self._held.enter_context(self._directory.locked())
        self._directory.write_metadata({**self._facts, **self._scores, "status": Status.RUNNING})
        self.begun = True
        _UNFINISHED[self._directory.path] = self

    @_safely
    def learn(self, *, facts: Mapping[str, Any] | None = None, **sections: Any) -> None:
        """Something that was seen only later: sections of the config by name, such as `clipping`, or facts of `run.json`."""
        self._facts |= facts or {}
        self._config = self._config.model_copy(update=sections)
        if "clipping" in sections:
            counted = self._counts
            self._counts = StepCounts(self._config, self._seen.variables, self._every)
            self._counts.restore(counted.state())
        self._directory.begin(self._config, {**self._facts, **self._scores})

    @_safely
    def add(self, records: StepRecords, *, loss_known: bool = True) -> None:
        """Steps that were recorded since: one in `every`. Without a known loss, theirs is NaN."""
        counted = records if loss_known else replace(records, loss=np.zeros(len(records)))
        self._find_divergence(counted)
        self._counts.add(counted)
        self._epoch.add(records)
        self._pending.append(records)
        waiting = sum(map(len, self._pending)) * len(self._seen.variables)
        if waiting > MOST_WAITING or time.perf_counter() - self._written > WRITTEN_EVERY:
            self._write_steps()

    @_safely
    def end_epoch(self, scores: Mapping[str, float], higher_is_better: Mapping[str, bool] | None = None) -> None:
        """An epoch is over, with these losses and metrics: `val_` begins the names of those on other samples.

        Which metrics are better where they are higher is guessed from their names unless it is said.
        """
        self._rows.append({**{name: float(value) for name, value in scores.items()}, **self._epoch.summary()})
        self._epoch = EpochNorms()
        for name in scores:
            plain = name.removeprefix(EVALUATED)
            self._evaluated |= name.startswith(EVALUATED)
            if plain != "loss" and plain not in self._higher:
                said = (higher_is_better or {}).get(plain)
                self._higher[plain] = not LOWER_IS_BETTER.search(plain.lower()) if said is None else said
        self._write_steps()
        self._write_metrics()

    @_safely
    def finish(self, status: Status | None = None, reason: str | None = None) -> None:
        """The loop is over: complete, or diverged, unless it is said how else it ended."""
        if not self.begun:
            return
        self._write_steps()
        self._write_metrics()
        ended = status or (Status.DIVERGED if self._divergence else Status.COMPLETE)
        divergence = self._divergence if ended == Status.DIVERGED else None
        outcome = self._counts.outcome(ended, len(self._rows), self.steps, divergence, self._diagnosis(ended))
        facts = {**self._facts, **self._scores, **ending_facts(outcome, self._directory, time.perf_counter() - self._clock)}
        self._directory.write_metadata({**facts, **({"reason": reason} if reason else {})})
        self._let_go()
        self._say_where(ended)

    # What becomes of it

    def give_up(self, error: Exception) -> None:
        """Record no more, and say so once; the loop goes on."""
        if self.failed:
            return
        self.failed = True
        told = f"{UNRECORDED}{' more' if self.begun else ''} of this training, which goes on: {words.told(error)}"
        if self.begun:
            with contextlib.suppress(Exception):
                stopped = {"status": Status.FAILED, "reason": f"recording stopped: {error}"}
                facts = {**self._facts, **self._scores, **stopped}
                self._directory.write_last_words(facts)
        with contextlib.suppress(Exception):
            self._let_go()
        words.warn(told)

    def abandoned(self, why: str = "the process ended before the training did") -> None:
        """Nobody said how the loop ended, and nobody will."""
        if self.begun and not self.failed and os.getpid() == self._process:
            error = getattr(sys, "last_value", None)
            interrupted = isinstance(error, KeyboardInterrupt)
            reason = f"{type(error).__name__}: {error}" if error else why
            self.before_leaving()
            self.finish(Status.INTERRUPTED if interrupted else Status.FAILED, reason)

    def _say_where(self, status: Status) -> None:
        """Say once where the recording is: a fit that goes on with it later says nothing."""
        if not self._said:
            self._said = True
            words.say(words.recorded(self._directory.path, (self._counts.records, self.steps), status))

    def _let_go(self) -> None:
        self.begun = False
        self._held.close()
        for path in [path for path, each in _UNFINISHED.items() if each is self]:
            del _UNFINISHED[path]

    # Parts

    @property
    def rule(self) -> ClippingRule:
        """How the loop clips, as far as it is known."""
        return self._config.clipping

    @property
    def _scores(self) -> dict[str, Any]:
        """What `run.json` says of the columns of `metrics.csv`."""
        metrics = {name: {"higher_is_better": higher} for name, higher in self._higher.items()}
        split = {"evaluation_split": "validation"} if self._evaluated else {}
        return {"metrics": metrics, "evaluated": self._evaluated, **split}

    def _find_divergence(self, records: StepRecords) -> None:
        """Note the first step whose loss or weights were not finite."""
        sane = np.isfinite(records.loss + records.penalty) & records.weights_finite.all(axis=1)
        if self._divergence or sane.all():
            return
        first = int(np.argmin(sane))
        broken: BoolArray = ~records.weights_finite[first]
        names = tuple(name for name, wrong in zip(self._seen.variables, broken, strict=True) if wrong)
        quantity = "loss" if not np.isfinite(records.loss[first]) else "weights"
        self._divergence = Divergence(len(self._rows) + 1, (self._counts.records + first + 1) * self._every, quantity, names)

    def _write_steps(self) -> None:
        if self._pending:
            records = StepRecords.joined(self._pending)
            done = self._counts.records - len(records)
            self._directory.append_steps(step_rows(records, done, every=self._every, counts_correct=False))
            self._pending = []
        self._written = time.perf_counter()

    def _write_metrics(self) -> None:
        """Add the new epochs' rows, or write all anew where they have other columns now."""
        rows = [metrics_row(number, row, self._higher, evaluated=self._evaluated) for number, row in enumerate(self._rows, 1)]
        columns = tuple(rows[0]) if rows else ()
        if self._written_rows and columns == self._columns:
            for row in rows[self._written_rows :]:
                self._directory.append_metrics(row)
        else:
            self._directory.write_metrics({**self._facts, **self._scores}, rows)
            self._directory.write_metadata({**self._facts, **self._scores, "status": Status.RUNNING})
        self._columns, self._written_rows = columns, len(rows)

    def _diagnosis(self, status: Status) -> Diagnosis | None:
        """What the gradients say, read from the file; None of long and of unfinished runs, and where nothing was recorded."""
        if status not in FINISHED or not 0 < self._counts.records <= DIAGNOSED:
            return None
        detector = Detector(self._seen.variables, self._every)
        for rows in self._directory.steps_in_pieces(ROWS):
            detector.read(rows)
        return detector.diagnosis(diverged=status == Status.DIVERGED)


@atexit.register
def _abandon_all() -> None:
    """The process ends: so do the recordings that nothing else has ended."""
    for recording in [*_UNFINISHED.values()]:
        recording.abandoned()
