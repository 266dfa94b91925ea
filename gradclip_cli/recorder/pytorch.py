"""Records any PyTorch loop: what its gradients were before and after clipping, whoever clips them and however.

    from gradclip_cli import record

    with record(optimizer, "results/mine/seed-0", model=model) as recorder:
        for epoch in range(5):
            for x, y in loader:
                ...                             # zero_grad, backward, clip, optimizer.step() as ever
                recorder.loss(loss)             # if you like
            recorder.epoch(val_accuracy=0.9)    # if you like, any numbers

**Before** is the gradient that the last backward pass before a step left: it is measured when that pass ends, after whatever else
waits for its end, such as DistributedDataParallel's averaging. Nothing is known yet then of who will change it; so clipping by
hand, through `.data` too, is seen as well as PyTorch's functions. **After** is what the optimizer's step finds, or, where it is
given a closure, what the closure's first evaluation leaves. What happens inside the backward pass is seen as done: a gradient
that a tensor's own hook clips is so before it is measured. What a loop does to a gradient between backward and step counts as
clipping where it makes it smaller.

A row is an optimizer step, however many backward passes it takes. With a `GradScaler` gradients are told unscaled, and the steps
that it leaves out are no rows: `skipped_steps` of `run.json` counts them. Of ranks that train together only the first records;
where each holds a part of the weights, what it tells is of its own part. A copy of the weights is held meanwhile.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Variable

from gradclip_cli.config.recorded import UnknownRule
from gradclip_cli.gradients.clipping_rule import ClippingRule
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.recorder import words
from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.pytorch_calls import CALLS
from gradclip_cli.recorder.pytorch_clipping import StepClipping
from gradclip_cli.recorder.pytorch_measures import Watched, widest
from gradclip_cli.recorder.pytorch_rows import Number, Row, Rows, records_of
from gradclip_cli.recorder.pytorch_seen import parameters_of, seen
from gradclip_cli.recorder.recording import Recording
from gradclip_cli.runs.metadata import Status
from gradclip_cli.runs.store import UNRECORDED


def record(
    optimizer: torch.optim.Optimizer,
    folder: str | os.PathLike[str] | None = None,
    *,
    model: torch.nn.Module | None = None,
    seed: int | None = None,
    every: int = 1,
    replace: bool = False,
) -> PyTorchRecorder:
    """Record the loop that calls `optimizer.step()` from now on, as the run in `folder`, such as `results/mine/seed-0`.

    `model` gives its variables their names. Of `every` steps one is recorded. A finished recording in the folder is replaced if
    `replace` says so. Raises TypeError and ValueError for what can't be meant; what fails later is told by a warning only.
    """
    while isinstance(inside := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = inside  # as Lightning and Accelerate wrap it
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"record() takes an optimizer of torch.optim, not {type(optimizer).__name__}: record(optimizer, folder)")
    if every < 1:
        raise ValueError(f"every={every}: of how many steps one is recorded is at least 1")
    return PyTorchRecorder(Recording(Place(folder, seed), every=every, replace=replace), optimizer, model, every)


def attached(optimizer: Any, **options: Any) -> PyTorchRecorder | None:
    """A recorder for somebody who has no other place to say that it can't be had: a warning says so."""
    try:
        return record(optimizer, **options)
    except (TypeError, ValueError) as error:
        words.warn(f"{UNRECORDED} of this training: {error}")
        return None


def _safely(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that changes no gradient's history, never raises, and does nothing once recording is over or has failed."""

    @functools.wraps(method)
    def safe(self: PyTorchRecorder, *args: Any, **kwargs: Any) -> Any:
        if not self.recording.begun or self.recording.failed:
            return None
        try:
            with torch.no_grad():
                return method(self, *args, **kwargs)
        except Exception as error:
            self.recording.give_up(error)
            return None

    return safe


def _require_whole(parameters: Iterable[Tensor]) -> None:
    """Raises RuntimeError for parameters that are spread over processes: to look at one is to wait for the others."""
    if any(hasattr(parameter, "full_tensor") for parameter in parameters):
        raise RuntimeError(
            "its parameters are spread over processes (DTensor, as fully_shard makes them), which can't be watched"
        )


class PyTorchRecorder:
    """Records the steps of one optimizer, until `finish` or the end of a `with` block. Made by `record`."""

    def __init__(self, recording: Recording, optimizer: torch.optim.Optimizer, model: torch.nn.Module | None, every: int) -> None:
        self.recording = recording
        self._optimizer, self._every = optimizer, every
        self._parameters = parameters_of(optimizer)
        self._hooked: set[int] = set()
        self._hooks: list[Any] = []
        self._watched = Watched(self._parameters)
        self._rows = Rows(self._watched)
        self._before: Tensor | None
        self._after: Tensor | None
        self._told: list[Number]
        self._rule: ClippingRule | None = None
        self._calls = self._skipped = self._new = 0
        self._left_out: Number = 0.0
        self._changed = self._epochs_told = self._last_recorded = False
        self._told_late: bool | None = None
        self._loss_sum, self._losses = 0.0, 0
        self._backward_task = -1
        self._expect_step()
        if not _is_follower():
            self._begin(model)

    def _begin(self, model: torch.nn.Module | None) -> None:
        try:
            _require_whole(self._parameters)
            known = seen(self._optimizer, model)
        except Exception as error:
            self.recording.give_up(error)
            return
        self.recording.begin(known)
        if self.recording.begun:
            self.recording.before_leaving = self._bring_over
            self._attach()

    def __enter__(self) -> PyTorchRecorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.finish(*ending(error))

    # What the loop tells

    @_safely
    def loss(self, value: Number) -> None:
        """The loss of a batch, a number or a tensor, told before the optimizer's step or each time after it.

        A step's loss is the mean of those that were told for it; an epoch's the mean of all.
        """
        value = _mean(value)
        if self._told_late is None:
            self._told_late = self._calls > 0 and not self._backward
        if self._after is not None:  # a closure that is evaluated again
            return
        self._loss_sum, self._losses = self._loss_sum + value, self._losses + 1
        if not self._told_late:
            self._told.append(value)
        elif self._last_recorded and (row := self._rows.last):
            row.loss = value

    @_safely
    def epoch(self, scores: Mapping[str, Number] | None = None, /, **more: Number) -> None:
        """An epoch is over, with these losses and metrics; names of those on other samples begin with `val_`."""
        self._epochs_told = True
        self._end_epoch({**(scores or {}), **more})

    def finish(self, status: Status | None = None, reason: str | None = None) -> None:
        """The loop is over. Its optimizer and parameters then are as they were before it was recorded."""
        self._finish(status, reason)
        CALLS.forget(self)
        while self._hooks:
            self._hooks.pop().remove()

    # What PyTorch tells

    def _attach(self) -> None:
        self._hook_parameters()
        self._hooks.append(self._optimizer.register_step_pre_hook(self._step_begins))
        self._hooks.append(self._optimizer.register_step_post_hook(self._step_ends))
        CALLS.tell(self)

    def _hook_parameters(self) -> None:
        """Hook the parameters that require a gradient by now."""
        for place, parameter in enumerate(self._parameters):
            if parameter.requires_grad and place not in self._hooked:
                self._hooks.append(parameter.register_post_accumulate_grad_hook(self._accumulated))
                self._hooked.add(place)

    def _accumulated(self, parameter: Tensor) -> None:
        """The first of a backward pass makes sure that its end is told."""
        self._backward = True
        if self._watching and (task := torch._C._current_graph_task_id()) != self._backward_task:
            self._backward_task = task
            self._call_at_the_end(self._backward_nearly_ends)

    @_safely
    def _call_at_the_end(self, function: Callable[[], None]) -> None:
        Variable._execution_engine.queue_callback(function)

    def _backward_nearly_ends(self) -> None:
        self._call_at_the_end(self._backward_ends)  # after all that waits for it by now

    @_safely
    def _backward_ends(self) -> None:
        if self._watching:
            self._before = self._watched.take()

    @_safely
    def _step_begins(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        if not self._is_recorded:
            return None
        self._watching, self._after = True, None  # whatever the last step's closure left that raised
        self._look_for_changes()
        self._watched.step_begins()
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):
            self._measure_after()
            return None
        told = functools.partial(self._evaluate, closure)
        return (args, {**kwargs, "closure": told}) if "closure" in kwargs else ((args[0], told, *args[2:]), kwargs)

    def _evaluate(self, closure: Callable[[], Any]) -> Any:
        """Where the optimizer evaluates a closure several times, a row is what the first evaluation finds."""
        result = closure()
        self._evaluated(result)
        return result

    @_safely
    def _evaluated(self, result: Any) -> None:
        if self._after is not None:
            return
        if not self._told and isinstance(result, Tensor | float):
            self.loss(result)
        self._measure_after()
        self._watching = False

    @_safely
    def _step_ends(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        skipped = getattr(optimizer, "found_inf", None)  # of fused optimizers, which leave steps out themselves
        if skipped is not None and self._every > 1 and skipped.item() > 0:  # which step is recorded depends on it
            self._skip()
            return
        self._last_recorded = self._is_recorded
        if self._last_recorded:
            self._add_row(skipped)
        if skipped is not None:
            self._left_out = self._left_out + (skipped > 0)
        self._calls += 1
        self.recording.steps += 1
        self._expect_step()

    @_safely
    def clipping(self, mode: str, threshold: float, parameters: Sequence[Tensor]) -> None:
        """A function of `torch.nn.utils` is about to clip. Gradients that no backward pass made are measured only now."""
        if self._watching and self._clipping.add(mode, threshold, parameters) and self._before is None:
            self._backward_ends()

    @_safely
    def unscaling(self, optimizer: Any, scale: Tensor | None) -> None:
        """A `GradScaler` is about to divide the gradients by its scale."""
        if optimizer is self._optimizer and scale is not None and self._before is not None:
            self._before = self._before / scale.to(self._before.device)

    def scaled_step(self, optimizer: Any, step: Callable[[], Any]) -> Any:
        """Let a `GradScaler` take its step; if it left the optimizer's out, count that."""
        before = self._calls + self._skipped
        result = step()
        if optimizer is self._optimizer and before == self._calls + self._skipped:
            self._skip()
        return result

    @_safely
    def _skip(self) -> None:
        self._skipped += 1
        self._last_recorded = False
        self._expect_step()

    # A step

    def _expect_step(self) -> None:
        """Nothing is known of the coming step."""
        self._watching = self._is_recorded
        self._before = self._after = None
        self._told = []
        self._clipping = StepClipping(self._parameters)
        self._backward = False

    @property
    def _is_recorded(self) -> bool:
        """Whether the coming step is one of those that are recorded."""
        return (self._calls + 1) % self._every == 0

    def _measure_after(self) -> None:
        before, after = self._before, self._watched.take(self._before)
        scale = getattr(self._optimizer, "grad_scale", None)  # of fused optimizers, which divide by it themselves
        if scale is not None:
            before, after = (None if each is None else each / scale for each in (before, after))
        self._before, self._after = after if before is None else before, after

    def _look_for_changes(self) -> None:
        """See whether parameters that were frozen are trained now, and tell of those that the optimizer was given since."""
        if len(self._hooked) < len(self._parameters):
            self._hook_parameters()
        new = sum(len(group["params"]) for group in self._optimizer.param_groups) - len(self._parameters)
        if new != self._new:
            self._new = new
            self.recording.learn(facts={"unrecorded_parameters": new})
            words.warn(f"{UNRECORDED} of {new} parameters that the optimizer was given later")

    def _add_row(self, skipped: Tensor | None) -> None:
        if self._after is None:  # a closure that was not called
            self._measure_after()
        assert self._before is not None
        assert self._after is not None
        update = self._watched.step_ends()
        rule = self._clipping.rule
        if self._rows.full:
            self._bring_over()
        if rule is not None and rule != self._rule and not isinstance(self._rule, UnknownRule):
            self._learn(rule if self._rule is None else UnknownRule())
        loss = sum(self._told) / len(self._told) if self._told else None
        self._rows.add(Row((self._before, self._after, update), rule is not None, loss, skipped))

    def _learn(self, rule: ClippingRule) -> None:
        self._bring_over()
        self._rule = rule
        self.recording.learn(clipping=rule)

    @_safely
    def _bring_over(self) -> None:
        """Give the rows that wait to the recording."""
        rows = self._rows.taken()
        self.recording.steps = self._calls - int(self._left_out)
        for known, part in itertools.groupby(rows, lambda row: row.loss is not None):
            records, changed = records_of(list(part), self._rule)
            self._changed |= changed
            self.recording.add(records, loss_known=known)

    def _end_epoch(self, scores: Mapping[str, Number]) -> None:
        self._bring_over()
        loss = {"loss": float(self._loss_sum) / self._losses} if self._losses else {}
        self.recording.end_epoch({**loss, **{name: float(value) for name, value in scores.items()}})
        self._loss_sum, self._losses = 0.0, 0

    @_safely
    def _finish(self, status: Status | None, reason: str | None) -> None:
        self._bring_over()
        if not self._epochs_told and self._calls:
            self._end_epoch({})
        if self._rule is None and not self._changed and self.recording.steps:
            self.recording.learn(clipping=Unclipped())
        if skipped := self._skipped + int(self._left_out):
            self.recording.learn(facts={"skipped_steps": skipped})
        self.recording.finish(status, reason)


def ending(error: BaseException | None) -> tuple[Status | None, str | None]:
    """How a loop ended that this ended, and why."""
    if error is None:
        return None, None
    interrupted = isinstance(error, KeyboardInterrupt)
    return Status.INTERRUPTED if interrupted else Status.FAILED, f"{type(error).__name__}: {error}"


def _mean(value: Number) -> Number:
    """A loss by itself, whatever becomes of its tensor later; on a device it stays there."""
    if not isinstance(value, Tensor):
        return float(value)
    mean = value.detach().mean() if value.numel() > 1 else value.detach().reshape(())
    return mean.item() if mean.is_cpu else mean.to(widest(mean.device), copy=True)


def _is_follower() -> bool:
    """Whether another process, which trains the same, records."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return bool(several and torch.distributed.get_rank() > 0)
