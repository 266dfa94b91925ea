"""Hugging Face's trainer as it is recorded, with a model made from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import slow_cases

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from gradclip_cli import TransformersRecorder  # noqa: E402
from gradclip_cli.runs.store import RunDirectory  # noqa: E402

pytestmark = [pytest.mark.trains, pytest.mark.filterwarnings("ignore")]


class Look(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
    """The norms that the trainer itself says, which are those before clipping, and the losses."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.losses: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **given: Any) -> None:
        if "grad_norm" in logs:
            self.norms.append(float(logs["grad_norm"]))
            self.losses.append(logs["loss"])


def train(output: Path, folder: Path | None, **options: Any) -> tuple[bytes, Look]:
    """The weights that two epochs of 24 sentences leave, and what the trainer said meanwhile."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(1)
    tokens = [torch.randint(20, (8,), generator=generator) for _ in range(24)]
    data = [{"input_ids": each, "labels": each} for each in tokens]
    arguments = transformers.TrainingArguments(
        output_dir=str(output),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        learning_rate=0.01,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        eval_strategy="epoch",
        logging_steps=1,
        disable_tqdm=True,
        **options,
    )
    look = Look()
    callbacks = [look, *([TransformersRecorder(folder)] if folder else [])]
    transformers.Trainer(model, arguments, train_dataset=data, eval_dataset=data[:8], callbacks=callbacks).train()
    return b"".join(each.detach().numpy().tobytes() for each in model.parameters()), look


@pytest.mark.parametrize(
    ("options", "mode", "steps"),
    [
        ({"max_grad_norm": 0.5}, "global_clipnorm", 12),
        *slow_cases(
            ({"max_grad_norm": 0.5, "gradient_accumulation_steps": 2}, "global_clipnorm", 6),
            ({"max_grad_norm": 0.0}, "none", 12),
        ),
    ],
)
def test_a_training(options: dict[str, Any], mode: str, steps: int, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "seed-0"
    weights, _ = train(tmp_path / "out", None, **options)
    recorded, look = train(tmp_path / "out", folder, **options)
    assert recorded == weights
    run = RunDirectory.at(folder)
    metadata, config = run.stored()
    assert (metadata["status"], metadata["epochs"], metadata["steps"]) == ("complete", 2, steps)
    assert config.clipping.mode == mode
    assert config.optimizer.label == "AdamW 0.01"
    assert "transformer/wte/weight" in metadata["variables"]
    told = run.steps()
    np.testing.assert_allclose(told["loss"], look.losses, rtol=1e-3)
    if mode == "global_clipnorm":
        np.testing.assert_allclose(told["grad_norm"], look.norms, rtol=1e-5)
        np.testing.assert_allclose(told["applied_norm"], np.minimum(told["grad_norm"], 0.5), rtol=2e-5)
    assert run.metrics()["val_loss"].notna().all()
    assert list(run.metrics().columns)[:3] == ["epoch", "loss", "val_loss"]
