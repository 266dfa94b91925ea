"""What is trained in Lightning. It takes seconds to import, so this is imported only where it trains."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import grad_norm


class Adder(lightning.LightningModule):
    """An LSTM for PyTorch's loop and for Lightning's."""

    def __init__(self, units: int, learning_rate: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.dense = torch.nn.LSTM(2, units, batch_first=True), torch.nn.Linear(units, 1)
        self.learning_rate = learning_rate

    def forward(self, x: Any) -> Any:
        return self.dense(self.lstm(x)[0][:, -1])

    def training_step(self, batch: Any, index: int) -> Any:
        return torch.nn.functional.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), self.learning_rate)


class Steeper(lightning.LightningModule):
    """A model whose outputs say its loss, in which `hook` names the method that logs `grad_norm(self, 2)`."""

    def __init__(self, net: torch.nn.Module, hook: str | None) -> None:
        super().__init__()
        self.net, self.hook = net, hook

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self.net()["loss"]
        self.log("train_loss", loss)
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.measure("on_before_optimizer_step")

    def configure_gradient_clipping(self, optimizer: Any, *values: Any, **named: Any) -> None:
        self.clip_gradients(optimizer, *values, **named)
        self.measure("configure_gradient_clipping")

    def measure(self, hook: str) -> None:
        if hook == self.hook:
            self.log_dict(grad_norm(self, 2))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


class Logged(DummyLogger):
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[float]] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.found.setdefault(name, []).append(value)
