"""Lightning's trainer as it is recorded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pl = pytest.importorskip("lightning.pytorch")

from torch import Tensor, nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from gradclip_cli import LightningRecorder  # noqa: E402
from gradclip_cli.recorder.score_names import scores_of  # noqa: E402
from gradclip_cli.runs.store import RunDirectory  # noqa: E402

pytestmark = [pytest.mark.trains, pytest.mark.filterwarnings("ignore")]
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Module(pl.LightningModule):  # type: ignore[misc, name-defined]
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


@pytest.mark.parametrize(
    ("way", "options", "mode", "steps"),
    [
        ("automatic", {}, "global_clipnorm", 12),
        ("automatic", {"gradient_clip_algorithm": "value"}, "clipvalue", 12),
        ("automatic", {"accumulate_grad_batches": 2}, "global_clipnorm", 6),
        ("manual", {}, "global_clipnorm", 12),
    ],
)
def test_a_fit(way: str, options: dict[str, Any], mode: str, steps: int, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = fit(None, way, **options)
    recorded, norms = fit(folder, way, **options)
    assert recorded == weights
    run = RunDirectory.at(folder)
    metadata, config = run.stored()
    assert (metadata["status"], metadata["epochs"], metadata["steps"]) == ("complete", 2, steps)
    assert (config.clipping.mode, config.clipping.threshold_of_all) == (mode, 0.1)
    assert metadata["variables"][0] == "net/0/weight"
    np.testing.assert_allclose(run.steps()["grad_norm"], norms, rtol=6e-6)
    if mode == "global_clipnorm":
        np.testing.assert_allclose(run.steps()["applied_norm"], np.minimum(norms, 0.1), rtol=2e-5)
    metrics = run.metrics()
    assert metrics[["loss", "val_loss", "val_acc"]].notna().all(axis=None)
    np.testing.assert_allclose(metrics["loss"], run.steps()["loss"].to_numpy().reshape(2, -1).mean(axis=1), rtol=1e-5)


def test_lbfgs(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = fit(None, "lbfgs", gradient_clip_val=None)
    recorded, norms = fit(folder, "lbfgs", gradient_clip_val=None)
    assert recorded == weights
    assert RunDirectory.at(folder).metadata()["steps"] == 12
    assert RunDirectory.at(folder).steps()["grad_norm"][0] == pytest.approx(norms[0], rel=1e-5)


def test_a_fit_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"):
        fit(tmp_path / "mine" / "seed-0", "failing")
    metadata = RunDirectory.at(tmp_path / "mine" / "seed-0").metadata()
    assert (metadata["status"], metadata["reason"], metadata["steps"]) == ("failed", "ValueError: mine", 3)


def test_a_place_that_can_t_be_meant_is_told_before_the_fit() -> None:
    with pytest.raises(ValueError, match="where to record"):
        LightningRecorder()


def test_names_of_scores() -> None:
    told = {"val/f1": 1, "eval_loss": 2, "train_acc_epoch": 3, "train_loss_step": 4, "eval_runtime": 5, "epoch": 6, "text": "x"}
    assert scores_of(told) == {"val_f1": 1.0, "val_loss": 2.0, "acc": 3.0}
