"""Records what a Hugging Face `Trainer` trains: `Trainer(..., callbacks=[TransformersRecorder("results/mine/seed-0")])`.

It records the optimizer as `gradclip_cli.recorder.pytorch` does: both sides of the trainer's clipping (`max_grad_norm`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.pytorch import PyTorchRecorder, attached
from gradclip_cli.recorder.score_names import scores_of


class TransformersRecorder(TrainerCallback):  # type: ignore[misc]  # a class of Transformers', which has no types here
    """A callback that records a training as a run; metrics are those of its evaluations, losses those that the model returns."""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        seed: int | None = None,
        every: int = 1,
        replace: bool = False,
    ) -> None:
        Place(folder, seed)  # a mistake is told before anything is trained
        self._options = {"folder": folder, "seed": seed, "every": every, "replace": replace}
        self._recorder: PyTorchRecorder | None = None
        self._listening: Any = None
        self._losses: list[Tensor] = []
        self._summed = self._epoch_over = False
        self._scores: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The first step is about to be taken."""
        model = given.get("model")
        if state.is_world_process_zero:
            self._recorder = attached(given.get("optimizer"), model=model, **self._options)
        if self._recorder and isinstance(model, torch.nn.Module):
            self._listening = model.register_forward_hook(self._forward_ends, with_kwargs=True)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """A step is about to be taken: its loss is that of its batches together."""
        if self._recorder and self._losses:
            total = sum(loss.double() for loss in self._losses)
            self._recorder.loss(total if self._summed else total / len(self._losses))
        self._losses = []

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any] | None = None, **given: Any) -> None:
        """Scores on other samples are known."""
        self._scores |= scores_of(metrics or {})

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The epoch before is over, with its evaluation, which follows `on_epoch_end`."""
        self._tell_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """An epoch's steps are taken."""
        self._epoch_over = True

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The training is over."""
        self._tell_epoch()
        if self._recorder:
            self._recorder.finish()
        if self._listening:
            self._listening.remove()

    def _tell_epoch(self) -> None:
        if self._epoch_over and self._recorder:
            self._recorder.epoch(self._scores)
        self._epoch_over, self._scores = False, {}

    def _forward_ends(self, module: torch.nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        """Keep the loss of a batch; it is a part of the step's where the model was told how many items the step has."""
        loss = output.get("loss") if isinstance(output, Mapping) else None
        if module.training and isinstance(loss, Tensor) and loss.numel() == 1:
            self._losses.append(loss.detach().reshape(()).clone())
            self._summed = kwargs.get("num_items_in_batch") is not None
