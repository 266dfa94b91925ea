"""Hugging Face's trainer, for tests of its recorder; imported by a test that runs, since it takes seconds to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from gradclip_cli import TransformersRecorder


class Look(transformers.TrainerCallback):  # type: ignore[misc]
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
