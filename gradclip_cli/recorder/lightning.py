"""Records what a Lightning `Trainer` trains: `Trainer(callbacks=[LightningRecorder("results/mine/seed-0")])`.

It records one optimizer as `gradclip_cli.recorder.pytorch` does, with automatic and manual optimization. The norm before clipping
is so even where a module clips in its own `configure_gradient_clipping`.
"""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from gradclip_cli.recorder.places import Place
from gradclip_cli.recorder.pytorch import PyTorchRecorder, attached, ending
from gradclip_cli.recorder.score_names import scores_of
from gradclip_cli.runs.csv_files import EVALUATED


class LightningRecorder(Callback):  # type: ignore[misc]  # a class of Lightning's, which has no types here
    """A callback that records a fit as a run; metrics are those that the module logs for epochs.

    `optimizer` is the place of the one to record among those that the module configures; where there are several, losses are
    not told, since nobody says whose they are.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        seed: int | None = None,
        every: int = 1,
        replace: bool = False,
        optimizer: int = 0,
    ) -> None:
        Place(folder, seed)  # a mistake is told before anything is trained
        self._options = {"folder": folder, "seed": seed, "every": every, "replace": replace}
        self._place = optimizer
        self._recorder: PyTorchRecorder | None = None
        self._validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first step is about to be taken."""
        optimizer = next(iter(trainer.optimizers[self._place :]), None)
        if trainer.is_global_zero:
            self._recorder = attached(optimizer, model=pl_module, **self._options)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """A loss is known: with automatic optimization divided by the batches that are accumulated."""
        if self._recorder and len(trainer.optimizers) == 1:
            self._recorder.loss(loss * trainer.accumulate_grad_batches if pl_module.automatic_optimization else loss)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Scores on other samples are new."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch's scores are known."""
        scores = scores_of(trainer.callback_metrics)
        if self._recorder:
            self._recorder.epoch({name: score for name, score in scores.items() if self._is_new(name)})
        self._validated = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The fit is over."""
        self._finish(None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The fit ended otherwise."""
        self._finish(exception)

    def _is_new(self, name: str) -> bool:
        return name != "loss" and (self._validated or not name.startswith(EVALUATED))

    def _finish(self, error: BaseException | None) -> None:
        if self._recorder:
            self._recorder.finish(*ending(error))

    def state_dict(self) -> dict[str, Any]:
        """Nothing goes into a checkpoint."""
        return {}
