"""Problems of a user's own PyTorch modules, for tests: a file with factories, data, and configs that name both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gradclip_cli.config.own import OwnConfig
from gradclip_cli.engines.contract import Engine
from gradclip_cli.problems.contract import Arrays, Dataset
from gradclip_cli.problems.own.problem import OwnProblem

MODULES = """\
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, dropout, frozen):
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.norm = nn.BatchNorm1d(12)
        self.hidden = nn.Linear(12, 8)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)
        self.unused.bias.requires_grad_(not frozen)

    def forward(self, words):
        values = self.norm(self.embedding(words).flatten(1))
        return self.out(self.dropout(torch.relu(self.hidden(values))))


def small(dropout=0.0, frozen=False):
    return Small(dropout, frozen)


def dense(inputs=4, outputs=3, last=None):
    layers = [nn.Linear(inputs, outputs)] + ([getattr(nn, last)()] if last == "Sigmoid" else [])
    return nn.Sequential(*layers, *([getattr(nn, last)(-1)] if last and last != "Sigmoid" else []))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, left, right):
        return self.layer(left) + self.layer(right)


def pair():
    return Pair()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.out = nn.Linear(5, 11, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, words):
        return self.out(self.embedding(words))


def tied():
    return Tied()


def lazy():
    return nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(3))


def seeded(seed):
    module = nn.Linear(4, 3)
    nn.init.constant_(module.weight, seed)
    return module


def growing(sizes=[2]):
    sizes[0] += 1
    return nn.Sequential(nn.Linear(4, sizes[0]), nn.Linear(sizes[0], 3))


def nothing():
    pass


def two():
    return nn.Linear(4, 3), nn.Linear(4, 3)


def a_class():
    return Pair


def frozen():
    return nn.Linear(4, 3).requires_grad_(False)


def mixed():
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3).double())


def half():
    return nn.Linear(4, 3).bfloat16()


def keras():
    return type("Model", (), {"__module__": "keras.src.models.model"})()


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(4, 3, batch_first=True)

    def forward(self, values):
        return self.layer(values)


def several():
    return Several()


class Careless(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, values):
        return self.layer(values).detach()


def careless():
    return Careless()


class Raising(Careless):
    def forward(self, values):
        raise KeyError("of the user's")


def raising():
    return Raising()


def squares(targets, outputs):
    return (targets - outputs.squeeze(-1)) ** 2


def largest_error(targets, outputs):
    return (targets - outputs.squeeze(-1)).abs().max()


def of_last_state(targets, outputs):
    return nn.functional.cross_entropy(outputs[0][:, -1], targets)


def no_tensor(targets, outputs):
    return 1.0
"""
LABELS = {"name": "sparse_categorical_crossentropy", "from_logits": True}


def own_config(folder: Path, factory: str, **sections: Any) -> OwnConfig:
    """A config of a module by the name of its factory."""
    (folder / "model.py").write_text(MODULES)
    said = {
        "name": "own",
        "engine": {"framework": "pytorch"},
        "data": {"factory": "model.py:unread", "batch_size": 8},
        "model": {"factory": f"model.py:{factory}", "args": sections.pop("args", {})},
        "loss": LABELS,
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
    }
    model = {**said["model"], **sections.pop("model", {})}  # type: ignore[dict-item]
    return OwnConfig.model_validate({**said, **sections, "model": model}).model_copy(update={"folder": str(folder)})


def dataset(inputs: Arrays, targets: Arrays) -> Dataset:
    """All of it both to train and to evaluate on."""
    return Dataset(inputs, targets, inputs, targets, "test", "x")


def words(samples: int = 64) -> Dataset:
    """Three words each, and which of three classes the first belongs to."""
    texts = np.random.default_rng(0).integers(11, size=(samples, 3), dtype=np.int32)
    return dataset(texts, (texts[:, 0] % 3).astype(np.int32))


def vectors(samples: int = 64, classes: int = 3) -> Dataset:
    """Four numbers each, and a class."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(samples, 4)).astype(np.float32)
    return dataset(values, generator.integers(classes, size=samples, dtype=np.int32))


def own_engine(config: OwnConfig, data: Dataset) -> Engine:
    """An engine at the beginning of the config's run."""
    from gradclip_cli.engines.pytorch import PyTorchEngine

    engine = PyTorchEngine(OwnProblem(config), data)
    engine.reset(engine.initial_weights(config), learning_rate=config.optimizer.learning_rate)
    return engine
