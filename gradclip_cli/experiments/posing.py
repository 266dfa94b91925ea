"""A problem posed from a model alone: what was not said is what the model brings, else a default, and why is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from gradclip_cli import engines
from gradclip_cli.config import loading
from gradclip_cli.config.own import COMPILED, OwnConfig
from gradclip_cli.config.recorded import require_no_script
from gradclip_cli.config.schema import Config
from gradclip_cli.errors import ConfigError
from gradclip_cli.gradients.rules.none import Unclipped
from gradclip_cli.problems import own, problem_of
from gradclip_cli.problems.contract import Dataset
from gradclip_cli.problems.own import given
from gradclip_cli.problems.own.brought import Brought
from gradclip_cli.problems.own.likely_losses import likely_loss
from gradclip_cli.runs.one import LOADING, building
from gradclip_cli.texts import counted

UNCLIPPED = "none"
USUAL_OPTIMIZER: Mapping[str, Any] = {"name": "adam", "learning_rate": 0.001}
MOST_STEPS_AN_EPOCH = 500
USUAL_EPOCHS = 5
USUAL_BATCH = 32
PILOT_SEED = 0


@dataclass(frozen=True)
class Wishes:
    """What was asked for; None is left to what the model brings, else to a default."""

    model: str
    data: str | None = None
    loss: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    framework: str | None = None


@dataclass(frozen=True)
class Posed:
    """A problem, unclipped, the clipping that its model brought, and sentences on what was chosen and why."""

    config: Config
    yours: Mapping[str, Any] | None
    choices: Sequence[str] = field(default_factory=tuple)


def pose(wishes: Wishes, tell: Callable[[str], None] = lambda what: None) -> Posed:
    """The problem that was asked for, with everything that was not said filled in: the model is built for that.

    `tell` hears what is being done. Raises ConfigError, DatasetError, EngineError and OwnCodeError.
    """
    if is_config(wishes.model):
        return _posed_by_config(wishes)
    model = given.model_keys(wishes.model)
    framework = wishes.framework or given.framework_of(model)
    keys: dict[str, Any] = {
        "name": UNCLIPPED,
        "engine": {"framework": framework},
        "data": given.data_keys(model, wishes.data),
        "model": model,
        "clipping": {"mode": UNCLIPPED},
    }
    first = _config(keys)
    problem = problem_of(first)
    tell(building(first))
    if problem.data_from_function:
        engines.imported(framework)
    tell(LOADING)
    dataset = problem.load()
    tell(building(first))
    engines.imported(framework)
    brought = own.brought(first, dataset)
    choices = _complete(keys, wishes, dataset, brought)
    return Posed(_config(keys), brought.clipping, choices)


def is_config(model: str) -> bool:
    """Whether what was given is a config, by file or shipped name, and no model."""
    return ":" not in model and not model.endswith((".py", ".keras"))


def _posed_by_config(wishes: Wishes) -> Posed:
    wanted = {
        "loss": wishes.loss,
        "optimizer.name": wishes.optimizer,
        "optimizer.learning_rate": wishes.learning_rate,
        "data.batch_size": wishes.batch_size,
        "training.epochs": wishes.epochs,
        "engine.framework": wishes.framework,
        "data.npz": wishes.data,
    }
    settings = [f"{key}={value}" for key, value in wanted.items() if value is not None]
    config = loading.load(wishes.model, settings)
    require_no_script(config, "Make a config of each arm, train them with gradclip run, then gradclip compare.")
    yours = None if config.clipping.mode == UNCLIPPED else config.clipping.model_dump(mode="json")
    unclipped = config.model_copy(update={"name": UNCLIPPED, "clipping": Unclipped()})
    return Posed(unclipped, yours)


def _config(keys: Mapping[str, Any]) -> OwnConfig:
    config = loading.from_text(yaml.safe_dump(dict(keys), sort_keys=False), "try")
    assert isinstance(config, OwnConfig)
    return config


def _complete(keys: dict[str, Any], wishes: Wishes, dataset: Dataset, brought: Brought) -> list[str]:
    """Fill in what was not asked for, and say why."""
    choices = []
    batch = wishes.batch_size or min(USUAL_BATCH, dataset.samples)
    if batch > dataset.samples:
        raise ConfigError([f"--batch-size {batch}: there are only {dataset.samples} samples to train on"])
    steps = max(1, min(MOST_STEPS_AN_EPOCH, dataset.samples // batch))
    epochs = wishes.epochs or USUAL_EPOCHS
    keys["data"] = {**keys["data"], "batch_size": batch}
    keys["training"] = {"epochs": epochs, "steps_per_epoch": steps, "seed": PILOT_SEED}
    once = "once through the training samples" if steps * batch > dataset.samples - batch else f"of {batch} samples"
    choices.append(f"{counted(epochs, 'epoch')} of {counted(steps, 'step')}, each epoch {once}")
    keys["loss"], why = _loss(wishes, dataset, brought)
    choices.append(f"loss {why}")
    keys["optimizer"], whose = _optimizer(wishes, brought)
    choices.append(f"optimizer {whose}")
    return choices


def _loss(wishes: Wishes, dataset: Dataset, brought: Brought) -> tuple[dict[str, Any], str]:
    if wishes.loss:
        return ({"factory": wishes.loss} if ":" in wishes.loss else {"name": wishes.loss}), f"{wishes.loss}, as you said"
    if brought.has_loss:
        return {"name": COMPILED}, "yours: that which the model was compiled with"
    name, why = likely_loss(brought.output_shape, dataset.train_targets)
    return {"name": name}, f"{name}, since {why} (--loss says another)"


def _optimizer(wishes: Wishes, brought: Brought) -> tuple[dict[str, Any], str]:
    rate = {} if wishes.learning_rate is None else {"learning_rate": wishes.learning_rate}
    if wishes.optimizer:
        return {"name": wishes.optimizer, **rate}, f"{wishes.optimizer}, as you said"
    if brought.optimizer:
        chosen = {**brought.optimizer, **rate}
        return chosen, f"yours: {chosen['name']}" + (f" at {chosen['learning_rate']:g}" if "learning_rate" in chosen else "")
    chosen = {**USUAL_OPTIMIZER, **rate}
    return chosen, f"{chosen['name']} at {chosen['learning_rate']:g} (--optimizer and --learning-rate say others)"
