"""Keras 3's `fit`, watched on TensorFlow, JAX and PyTorch: `model.fit(..., callbacks=[Recorder("results/mine/seed-0")])`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from gradclip_cli.arrays import FloatArray
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.excess import measured_excess
from gradclip_cli.gradients.step_records import StepRecords
from gradclip_cli.recorder.keras_model import directions, seen
from gradclip_cli.recorder.keras_optimizer import Begun, Watch, innermost, require_hooks
from gradclip_cli.recorder.measures import MEASURED, changed, step_records
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.recording import Recording

NOT_METRICS = ("learning_rate", "lr")


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
    """Records a `fit`: gradients before and after clipping, updates, losses and metrics. It changes nothing of the training.

    `folder` is `results/ARM/seed-N`, or `results/ARM` with a `seed`, or without one: then the run gets the next free number, and
    can't be paired with others. In a script that `gradclip run` starts it is not needed. `every` records one step in so many.
    `replace` lets it take the place of a finished recording. `higher_is_better` says which way a metric of the logs is better, by
    name, where its name would mislead. Two fits in a row are one run. Raises ValueError for a folder that can't be an arm's.
    """

    def __init__(
        self,
        folder: str | None = None,
        *,
        seed: int | None = None,
        every: int = 1,
        replace: bool = False,
        higher_is_better: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every is a number of steps, 1 or more, not {every}")
        self._recording = Recording(Place(folder, seed), every=every, replace=replace)
        self._every, self._higher = every, dict(higher_is_better or {})
        self._watch: Watch | None = None
        self._batch_losses: FloatArray = np.empty(0)
        """Of batches whose step has not been fetched yet."""
        self._batches = 0

    # What Keras calls

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._guarded(self._begin)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._losses = _Losses()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._watch is None:
            return
        self._losses.add(min(batch + 1, self.params.get("steps") or batch + 1), (logs or {}).get("loss"))
        if self._recording.failed or self._losses.waiting + self.model.steps_per_execution > self._watch.most_steps:
            self._guarded(self._fetch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._guarded(lambda: self._end_epoch(logs or {}))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._guarded(self._end)

    # What is done then

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong is told once and ends the recording, not the training."""
        if not self._recording.failed:
            try:
                work()
            except Exception as error:
                self._recording.give_up(error)
        if self._recording.failed and self._watch is not None:
            self._watch.release()
            self._watch = None

    def _begin(self) -> None:
        optimizer = innermost(self.model.optimizer)
        require_hooks(optimizer)
        if not optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if not self._recording.begun:
            self._recording.begin(seen(self.model, optimizer))
        if not self._recording.failed:
            self._losses = _Losses()
            self._watch = Watch(self.model, optimizer, self._every, Begun(self._recording.steps, self._recording.give_up))

    def _fetch(self) -> None:
        """Bring over what the steps since the last time left in the ring."""
        assert self._watch is not None
        rows, steps = self._watch.fetch()
        self._recording.steps += steps
        self._batch_losses = np.append(self._batch_losses, self._losses.taken())
        losses = self._losses_of(steps)
        if len(rows):
            numbers = self._recording.steps - steps + 1 + np.arange(steps)
            recorded = losses[numbers % self._every == 0]
            known = not np.isnan(losses).all()
            self._recording.add(_records(rows, recorded, self._recording.rule, len(self._watch.variables)), loss_known=known)

    def _losses_of(self, steps: int) -> FloatArray:
        """The losses of the last so many steps, each the mean of its batches; NaN where a loss scale left out some steps."""
        assert self._watch is not None
        batches, each = len(self._batch_losses), self._watch.batches_a_step
        self._batches += batches
        losses, self._batch_losses = self._batch_losses[: steps * each], self._batch_losses[steps * each :]
        skipped = self._watch.may_skip and batches // each != steps
        if skipped:
            self._batch_losses = np.empty(0)
        self._batches -= len(self._batch_losses)
        return np.full(steps, np.nan) if skipped or len(losses) < steps * each else losses.reshape(steps, each).mean(axis=1)

    def _end_epoch(self, logs: Mapping[str, Any]) -> None:
        self._fetch()
        scores = {name: float(value) for name, value in logs.items() if name not in NOT_METRICS}
        self._recording.end_epoch(scores, {**directions(self.model), **self._higher})

    def _end(self) -> None:
        assert self._watch is not None
        self._fetch()
        if not self._recording.steps and not self._watch.may_skip:
            raise RuntimeError("the model's own optimizer took no step; a train_step with optimizers of its own isn't seen")
        facts = self._watch.facts
        if self._watch.may_skip:
            facts["skipped_steps"] = self._batches // self._watch.batches_a_step - self._recording.steps
        self._watch.release()
        self._watch = None
        self._recording.learn(facts=facts)
        self._recording.finish()


class _Losses:
    """An epoch's losses as the callback hears of them: the mean so far, after so many batches."""

    def __init__(self) -> None:
        self._batches, self._sum = 0, 0.0
        self._heard: list[tuple[int, Any]] = []

    def add(self, batches: int, mean: Any) -> None:
        self._heard.append((batches, mean))

    @property
    def waiting(self) -> int:
        """Batches since the losses were last taken."""
        return self._heard[-1][0] - self._batches if self._heard else 0

    def taken(self) -> FloatArray:
        """The loss of each batch since the last time, (B,): what is known of several together each of them has; else NaN."""
        found: list[float] = []
        for batches, heard in self._heard:
            total = math.nan if heard is None else float(heard) * batches
            found += [(total - self._sum) / (batches - self._batches)] * (batches - self._batches)
            self._batches, self._sum = batches, total
        self._heard = []
        return np.array(found)


def _records(rows: FloatArray, losses: FloatArray, rule: ClippingRule, variables: int) -> StepRecords:
    """The records of S steps from rows of the ring, (S, 5 V)."""
    measures = dict(zip(MEASURED, np.split(rows, len(MEASURED), axis=1), strict=True))
    norm, max_abs, applied_norm, applied_max_abs, _ = measures.values()
    if rule.measured:
        excess = measured_excess(rule.scope, norm, max_abs, [float(rule.threshold_of_all or math.inf)] * variables)
    else:
        excess = 1.0 + changed(np.hstack([norm, max_abs]), np.hstack([applied_norm, applied_max_abs]))
    return step_records(measures, losses, np.asarray(excess))
