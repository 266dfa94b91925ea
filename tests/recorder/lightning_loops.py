"""Lightning's trainer, for tests of its recorder; imported by a test that runs, since Lightning takes seconds to import."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gradclip_cli import LightningRecorder

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Module(pl.LightningModule):  # type: ignore[misc]
    """A classifier, which may optimize by hand, with L-BFGS, or fail."""

    def __init__(self, way: str = "automatic") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way, self.automatic_optimization = way, way != "manual"
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        self.norms: list[float] = []

    def training_step(self, batch: Any, index: int) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        if self.way == "failing" and index == 3:
            raise ValueError("mine")
        if self.way == "manual":
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.look()
            self.clip_gradients(optimizer, gradient_clip_val=0.1, gradient_clip_algorithm="norm")
            optimizer.step()
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.automatic_optimization:
            self.look()

    def look(self) -> None:
        gradients = [each.grad.double().numpy().ravel() for each in self.parameters()]
        self.norms.append(float(np.linalg.norm(np.concatenate(gradients))))

    def validation_step(self, batch: Any, index: int) -> None:
        x, y = batch
        self.log("val_acc", (self.net(x).argmax(1) == y).float().mean())
        self.log("val_loss", nn.functional.cross_entropy(self.net(x), y))

    def configure_optimizers(self) -> Any:
        if self.way == "lbfgs":
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)
        return torch.optim.SGD(self.parameters(), lr=0.5)


def fit(folder: Path | None, way: str = "automatic", **options: Any) -> tuple[bytes, list[float]]:
    """The weights that two epochs of six batches leave, and the norms before clipping."""
    module = Module(way)
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.randn(48, 4, generator=generator), torch.randint(2, (48,), generator=generator))
    clip = {} if way == "manual" else {"gradient_clip_val": 0.1, **options}
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LightningRecorder(folder)] if folder else [],
        **clip,
    )
    trainer.fit(module, DataLoader(data, 8), DataLoader(data, 8))
    return b"".join(each.detach().numpy().tobytes() for each in module.parameters()), module.norms
