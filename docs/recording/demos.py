"""What stands around the code of docs/recording.md when it is run: small models, and data made on the spot."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from click.testing import CliRunner
from frameworks.tables import table

from gradclip_cli.arrays import FloatArray
from gradclip_cli.cli import main
from gradclip_cli.engines.tensorflow import keras
from recording.quiet import quietly

SAMPLES, TIME_STEPS, UNITS, BATCH = 1024, 8, 32, 16
LEARNING_RATE = 0.02


def adding_problem(samples: int) -> tuple[FloatArray, FloatArray]:
    """Sequences of numbers of which two are marked, (N, 8, 2), and the sums of these two, (N, 1)."""
    generator = np.random.default_rng(0)
    x = np.zeros((samples, TIME_STEPS, 2), np.float32)
    x[:, :, 0] = generator.random((samples, TIME_STEPS))
    for sequence in x:
        sequence[generator.choice(TIME_STEPS, 2, replace=False), 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(axis=1, keepdims=True)


def keras_names(samples: int) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    x, y = adding_problem(samples)
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.LSTM(UNITS), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(LEARNING_RATE, clipnorm=1.0), "mean_squared_error")
    return {"model": model, "x": x, "y": y}


def lightning_names(samples: int) -> dict[str, Any]:
    import lightning

    from recording.lightning_modules import Adder

    data = torch.utils.data.TensorDataset(*map(torch.from_numpy, adding_problem(samples)))
    loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True, generator=torch.Generator().manual_seed(0))
    return {"lightning": lightning, "model": Adder(UNITS, LEARNING_RATE), "loader": loader}


def pytorch_names(samples: int) -> dict[str, Any]:
    names = lightning_names(samples)
    optimizer = names["model"].configure_optimizers()
    return {**names, "torch": torch, "optimizer": optimizer, "loss_of": torch.nn.functional.mse_loss}


def transformers_names(samples: int) -> dict[str, Any]:
    """A decoder of one layer, which learns to count on, in steps of one to three."""
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=32, n_positions=16, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    starts = np.random.default_rng(0).integers((0, 1), (32, 4), (samples, 2))
    tokens = torch.from_numpy((starts[:, :1] + starts[:, 1:] * np.arange(16)) % 32)
    arguments = transformers.TrainingArguments(
        num_train_epochs=4,
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    data = [{"input_ids": each, "labels": each} for each in tokens]
    return {"transformers": transformers, "model": transformers.GPT2LMHeadModel(config), "arguments": arguments, "data": data}


DEMOS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "keras": keras_names,
    "pytorch": pytorch_names,
    "lightning": lightning_names,
    "transformers": transformers_names,
}
"""What each piece of the page's code finds defined, by the arm that it records."""


def pieces(page: str) -> dict[str, str]:
    """The page's code by the arm that it records."""
    found = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    return {(re.search(r"results/(\w+)/seed-0", code) or [""] * 2)[1]: code for code in found}


def train(arm: str, code: str, folder: Path, samples: int = SAMPLES) -> None:
    """Run the page's code for an arm, as it stands there, in a folder."""
    with contextlib.chdir(folder), quietly():
        exec(compile(code, f"recording.md, {arm}", "exec"), DEMOS[arm](samples))


def shown(arm: str, folder: Path) -> str:
    """What `gradclip show` says of an arm in a folder, but for the line that says when it was trained; it draws the picture."""
    with contextlib.chdir(folder):
        said = CliRunner().invoke(main, ["show", arm], catch_exceptions=False).stdout
    return "\n".join(line.rstrip() for line in said.splitlines() if not line.startswith("  trained "))


def norms_table(folder: Path) -> str:
    """How large the norms of each arm in a folder were, before clipping and after it, and on what share of steps it acted."""
    header = ["run", "clipping", "largest norm before", "largest norm after", "steps over the threshold", "clipping acted on"]
    return table(header, [norms_row(arm, folder / "results" / arm / "seed-0") for arm in DEMOS])


def norms_row(arm: str, run: Path) -> list[str]:
    steps, rule = pd.read_csv(run / "steps.csv"), yaml.safe_load((run / "config.yaml").read_text())["clipping"]
    before, after, threshold = steps["grad_norm"], steps["applied_norm"], rule["threshold"]
    shares = [f"{share:.1%}" for share in ((before > threshold).mean(), steps["clipped"].mean())]
    return [arm, f"{rule['mode']} {threshold:g}", f"{before.max():.3g}", f"{after.max():.3g}", *shares]
