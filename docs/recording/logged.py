"""What each framework logs of gradients by itself, held against the norm before clipping and the one after it.

Each training takes two steps of `Steep`, or of the same model in Keras: their gradients have the norms 5 and 10, whatever the
weights are, and the threshold is 1. A recorder watches each of them, so that its two norms are held against the same figures.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from frameworks.tables import table

from gradclip_cli import Recorder, record
from gradclip_cli.engines.tensorflow import keras
from recording.quiet import quietly

BEFORE, AFTER, BY_VALUE, THRESHOLD = [5.0, 10.0], [1.0, 1.0], [2**0.5, 2**0.5], 1.0
SLOPE = torch.tensor([3.0, 4.0])
PACKAGES = ("keras", "tensorflow", "torch", "lightning", "transformers", "accelerate")
TITLES = {"keras": "Keras", "tensorflow": "TensorFlow", "torch": "PyTorch", "lightning": "Lightning"}
HEADER = ("who trains", "with what", "what it logs of the norm", "that is the norm")
Norms = dict[str, list[float]]
"""What was logged, by the names under which it was."""


class Found(NamedTuple):
    """What a training logged by itself, and the run that its recorder wrote."""

    logged: Norms
    recorded: Norms


class Steep(torch.nn.Module):
    """Two weights; the loss of the k-th call has a gradient of norm 5 k."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.calls = 0

    def forward(self, x: Any = None, **given: Any) -> Any:
        self.calls += 1
        return {"loss": self.calls * (SLOPE * self.weight).sum()}


@contextlib.contextmanager
def elsewhere() -> Iterator[str]:
    """In an empty folder, in which to record."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), quietly():
        yield str(Path(folder, "results", "mine", "seed-0"))


def recorded(folder: str) -> Norms:
    """The norms before and after clipping that a recorder wrote."""
    steps = pd.read_csv(Path(folder, "steps.csv"))
    return {name: steps[name].tolist() for name in ("grad_norm", "applied_norm")}


def keras_fit(**clipping: float) -> Found:
    """Two batches of one sample each, in their order."""
    with elsewhere() as folder:
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
        model.compile(keras.optimizers.SGD(0.01, **clipping), lambda y, output: keras.ops.mean(output))
        seen: list[dict[str, float]] = []
        batches = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs or {})))
        x = np.outer([1, 2], SLOPE.numpy()).astype("float32")
        history = model.fit(x, x[:, 0], batch_size=1, shuffle=False, verbose=0, callbacks=[batches, Recorder(folder)])
        names = {name for each in seen for name in each} | set(history.history)
        return Found({name: [each[name] for each in seen if name in each] for name in sorted(names)}, recorded(folder))


def pytorch_loop(clip: Callable[[Any], Any]) -> Found:
    """A loop in which `clip` is called with the parameters, and returns what there is to log."""
    with elsewhere() as folder:
        model, told = Steep(), []
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        with record(optimizer, folder, model=model):
            for _ in BEFORE:
                optimizer.zero_grad()
                model()["loss"].backward()
                told.append(clip(list(model.parameters())))
                optimizer.step()
        values = [float(each) for each in told if each is not None]
        return Found({"returned": values} if values else {}, recorded(folder))


def by_value(parameters: Any) -> Any:
    return torch.nn.utils.clip_grad_value_(parameters, THRESHOLD)


def by_norm(parameters: Any) -> Any:
    return torch.nn.utils.clip_grad_norm_(parameters, THRESHOLD)


def measured_afterwards(parameters: Any) -> Any:
    torch.nn.utils.clip_grad_norm_(parameters, THRESHOLD)
    return torch.nn.utils.get_total_norm([each.grad for each in parameters])


def by_accelerate(parameters: Any) -> Any:
    import accelerate

    return accelerate.Accelerator(cpu=True).clip_grad_norm_(parameters, THRESHOLD)


def lightning_fit(hook: str | None = None) -> Found:
    import lightning.pytorch as lightning

    from gradclip_cli import LightningRecorder
    from recording.lightning_modules import Logged, Steeper

    with elsewhere() as folder:
        logger = Logged()
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            gradient_clip_val=THRESHOLD,
            log_every_n_steps=1,
            logger=logger,
            callbacks=[LightningRecorder(folder)],
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        trainer.fit(Steeper(Steep(), hook), torch.utils.data.DataLoader(torch.zeros(2, 1)))
        return Found({name: values for name, values in logger.found.items() if name != "epoch"}, recorded(folder))


def trainer(logging_steps: int = 1, **clipping: float) -> Found:
    """Hugging Face's."""
    import transformers

    from gradclip_cli import TransformersRecorder

    with elsewhere() as folder:
        arguments = transformers.TrainingArguments(
            num_train_epochs=1,
            per_device_train_batch_size=1,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_steps=logging_steps,
            disable_tqdm=True,
            optim="sgd",
            **clipping,
        )
        data = [{"x": torch.zeros(1)} for _ in BEFORE]
        training = transformers.Trainer(Steep(), arguments, train_dataset=data, callbacks=[TransformersRecorder(folder)])
        training.train()
        logs = training.state.log_history[:-1]
        names = {name: None for each in logs for name in each if name not in ("epoch", "step", "learning_rate")}
        return Found({name: [each[name] for each in logs] for name in names}, recorded(folder))


class Case(NamedTuple):
    """A row of the table: who trains, what is called there, and how that is tried."""

    framework: str
    call: str
    training: Callable[[], Found]
    after: Sequence[float] = tuple(AFTER)
    """The norms after clipping."""


CASES = (
    Case("Keras", "`fit`, with `clipnorm`", lambda: keras_fit(clipnorm=THRESHOLD)),
    Case("Keras", "`fit`, with `global_clipnorm`", lambda: keras_fit(global_clipnorm=THRESHOLD)),
    Case("PyTorch", "`clip_grad_norm_`, what it returns", lambda: pytorch_loop(by_norm)),
    Case("PyTorch", "`clip_grad_value_`, what it returns", lambda: pytorch_loop(by_value), BY_VALUE),
    Case("PyTorch", "`get_total_norm`, called after `clip_grad_norm_`", lambda: pytorch_loop(measured_afterwards)),
    Case("Accelerate", "`accelerator.clip_grad_norm_`, what it returns", lambda: pytorch_loop(by_accelerate)),
    Case("Lightning", "`Trainer(gradient_clip_val=...)`", lightning_fit),
    Case("Lightning", "`grad_norm(self, 2)` in `on_before_optimizer_step`", lambda: lightning_fit("on_before_optimizer_step")),
    Case(
        "Lightning",
        "`grad_norm(self, 2)` in `configure_gradient_clipping`, after `clip_gradients`",
        lambda: lightning_fit("configure_gradient_clipping"),
    ),
    Case("Hugging Face's `Trainer`", "`max_grad_norm=1`, a log a step", lambda: trainer(max_grad_norm=THRESHOLD)),
    Case("Hugging Face's `Trainer`", "`max_grad_norm` not said, which is 1; a log a step", trainer),
    Case("Hugging Face's `Trainer`", "`max_grad_norm=1`, a log for both steps", lambda: trainer(2, max_grad_norm=THRESHOLD)),
    Case("Hugging Face's `Trainer`", "`max_grad_norm=0`, a log a step", lambda: trainer(max_grad_norm=0.0), BEFORE),
)


def logged_table() -> str:
    """What each framework logs by itself: found by training."""
    rows = [(case.framework, case.call, *cells(case)) for case in CASES]
    return f"{table(HEADER, rows)}\n\nWith {versions()}."


def cells(case: Case) -> tuple[str, str]:
    """What was logged, and which of the norms that is. Raises ValueError where it is none, or the recorder's are others."""
    found = case.training()
    if not (same(found.recorded["grad_norm"], BEFORE) and same(found.recorded["applied_norm"], case.after)):
        raise ValueError(f"{case.framework}, {case.call}: a recorder told {found.recorded}")
    norms = {name: values for name, values in found.logged.items() if "norm" in name or name == "returned"}
    if not norms:
        return "nothing" + "".join(f", only `{name}`" for name in found.logged), "-"
    name, values = next((name, values) for name, values in norms.items() if "total" in name or len(norms) == 1)
    shown = ", ".join(f"{value:g}" for value in values)
    return (shown if name == "returned" else f"`{name}`: {shown}"), which(values, case.after)


def which(values: Sequence[float], after: Sequence[float]) -> str:
    """Which norms these are. Raises ValueError where they are neither those before clipping nor those after it."""
    kinds = {"**before** clipping": BEFORE, "**after** clipping": after}
    for kind, norms in {"the same: nothing was clipped": BEFORE}.items() if same(BEFORE, after) else kinds.items():
        if same(values, norms):
            return kind
        if same(values, norms[-1:]):
            return f"{kind}, of the last step alone"
    raise ValueError(f"{values} are neither {BEFORE} nor {after}")


def same(some: Sequence[float], others: Sequence[float]) -> bool:
    return len(some) == len(others) and bool(np.allclose(some, others, rtol=1e-4))


def versions() -> str:
    """The packages with which the table was made, without what tells one build from another."""
    return ", ".join(f"{TITLES.get(name, name.capitalize())} {version(name)}" for name in PACKAGES)


def version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]
